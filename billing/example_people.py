"""Who lives in the example: names and where they are. All are made up; addresses are of example.org (RFC 2606)."""

from dataclasses import dataclass

_FIRST = [
    "Achieng",
    "Amina",
    "Baraka",
    "Brian",
    "Chebet",
    "Daudi",
    "Esther",
    "Fatuma",
    "Grace",
    "Hassan",
    "Imani",
    "James",
    "Kamau",
    "Kevin",
    "Leila",
    "Mercy",
    "Moses",
    "Mumbi",
    "Nafula",
    "Njeri",
    "Omar",
    "Otieno",
    "Peter",
    "Rehema",
    "Salim",
    "Sarah",
    "Tatu",
    "Wairimu",
    "Yusuf",
    "Zawadi",
]
_LAST = [
    "Abdi",
    "Cheruiyot",
    "Kamau",
    "Kariuki",
    "Kilonzo",
    "Kiptoo",
    "Mutua",
    "Mwangi",
    "Njoroge",
    "Odhiambo",
    "Omondi",
    "Wafula",
    "Wanjiru",
]

NORTH, SOUTH, MARKET = "hostel-north", "hostel-south", "market"
HOMES = (
    "Acacia House",
    "Bahari Dental",
    "Chui Tours",
    "Duka Moja",
    "Green Gate",
    "Lakeside Clinic",
    "Palm Court",
)


@dataclass(frozen=True, slots=True)
class Resident:
    """A customer of the example: user name, name, and the group, where there is one."""

    username: str
    name: str
    group: str | None
    number: int

    @property
    def phone(self) -> str:
        """A number nobody else of the example has."""
        return f"+2547110{self.number:05}"

    @property
    def email(self) -> str:
        """An address that reaches nobody."""
        return f"{self.username}@example.org"


def residents() -> list[Resident]:
    """Return everybody: two hostels, the market of a reseller, and homes and offices that pay by the month."""
    places = [(NORTH, "north", 24), (SOUTH, "south", 14), (MARKET, "market", 8)]
    named = [(group, f"{prefix}-{place}") for group, prefix, count in places for place in range(1, count + 1)]
    people = [
        Resident(username, f"{_FIRST[number * 7 % 30]} {_LAST[number * 5 % 13]}", group, number)
        for number, (group, username) in enumerate(named)
    ]
    return people + [
        Resident(name.lower().replace(" ", "-"), name, None, len(people) + number)
        for number, name in enumerate(HOMES)
    ]
