"""Two databases: what was sold goes to RADIUS, what was used comes back, and all is told as with one (rule R30)."""

from tests.contract import two_databases_story as story
from tests.contract.two_databases import OpenIsp


def test_r30_a_story_of_sales_and_use_is_told_alike_with_one_database_and_with_two(open_isp: OpenIsp) -> None:
    one, two = open_isp(1), open_isp(2)
    expected, told = story.tell(one, story.play(one)), story.tell(two, story.play(two))
    for what in expected:
        assert "\n".join(told[what]) == "\n".join(expected[what]), what
