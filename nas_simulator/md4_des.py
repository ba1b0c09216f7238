"""MD4 (RFC 1320) and DES (FIPS 46-3), which MS-CHAPv2 is made of and OpenSSL 3 no longer offers.

Owns the two primitives and nothing else. They are broken as cryptography and slow here: only a peer that logs in needs them.
"""

import struct

_MASK = 0xFFFFFFFF
_ROUNDS = (
    (0x00000000, tuple(range(16)), (3, 7, 11, 19)),
    (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)


def md4(message: bytes) -> bytes:
    """Return the 16-octet MD4 digest."""
    padded = message + b"\x80" + b"\0" * ((55 - len(message)) % 64) + struct.pack("<Q", len(message) * 8)
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for start in range(0, len(padded), 64):
        block = struct.unpack("<16I", padded[start : start + 64])
        state = [(old + new) & _MASK for old, new in zip(state, _compressed(state, block), strict=True)]
    return struct.pack("<4I", *state)


def _compressed(state: list[int], block: tuple[int, ...]) -> list[int]:
    a, b, c, d = state
    for number, (constant, order, shifts) in enumerate(_ROUNDS):
        for step, word in enumerate(order):
            total = (a + _mixed(number, b, c, d) + block[word] + constant) & _MASK
            shift = shifts[step % 4]
            a, b, c, d = d, ((total << shift) | (total >> (32 - shift))) & _MASK, b, c
    return [a, b, c, d]


def _mixed(number: int, b: int, c: int, d: int) -> int:
    if number == 0:
        return (b & c) | (~b & d)
    if number == 1:
        return (b & c) | (b & d) | (c & d)
    return b ^ c ^ d


# FIPS 46-3; bits are numbered from 1, the most significant first.
# fmt: off
_INITIAL = tuple(58 - 8 * (i % 8) + 2 * (i // 8) if i < 32 else 57 - 8 * (i % 8) + 2 * ((i - 32) // 8) for i in range(64))
_FINAL = tuple(_INITIAL.index(i + 1) + 1 for i in range(64))
_EXPANSION = tuple((4 * (i // 6) + i % 6 - 1) % 32 + 1 for i in range(48))
_PERMUTATION = (
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
    2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
)
_KEY_CHOICE_1 = (
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
)
_KEY_CHOICE_2 = (
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
)
_KEY_SHIFTS = (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1)
# Four rows of sixteen to each box, a hexadecimal digit an entry.
_BOXES = tuple(tuple(int(digit, 16) for digit in rows.replace(" ", "")) for rows in (
    "e4d12fb83a6c5907 0f74e2d1a6cb9538 41e8d62bfc973a50 fc8249175b3ea06d",
    "f18e6b34972dc05a 3d47f28ec01a69b5 0e7ba4d158c6932f d8a13f42b67c05e9",
    "a09e63f51dc7b428 d709346a285ecbf1 d6498f30b12c5ae7 1ad069874fe3b52c",
    "7de3069a1285bc4f d8b56f03472c1ae9 a690cb7df13e5284 3f06a1d8945bc72e",
    "2c417ab6853fd0e9 eb2c47d150fa3986 421bad78f9c5630e b8c71e2d6f09a453",
    "c1af92680d34e75b af427c9561de0b38 9ef528c3704a1db6 432c95fabe17608d",
    "4b2ef08d3c975a61 d0b7491ae35c2f86 14bdc37eaf680592 6bd814a7950fe23c",
    "d2846fb1a93e50c7 1fd8a374c56b0e92 7b419ce206adf358 21e74a8dfc90356b",
))
# fmt: on


def des(key: bytes, block: bytes) -> bytes:
    """Encrypt one 8-octet block under a 7-octet key (its parity bits are not there)."""
    halves = _permuted(int.from_bytes(block), 64, _INITIAL)
    left, right = halves >> 32, halves & _MASK
    for subkey in _subkeys(key):
        left, right = right, left ^ _round(right, subkey)
    return _permuted(right << 32 | left, 64, _FINAL).to_bytes(8)


def _permuted(value: int, width: int, order: tuple[int, ...]) -> int:
    result = 0
    for bit in order:
        result = result << 1 | (value >> (width - bit)) & 1
    return result


def _with_parity_room(key: bytes) -> int:
    bits = int.from_bytes(key)
    spread = 0
    for group in range(8):
        spread = spread << 8 | ((bits >> (49 - 7 * group)) & 0x7F) << 1
    return spread


def _subkeys(key: bytes) -> list[int]:
    chosen = _permuted(_with_parity_room(key), 64, _KEY_CHOICE_1)
    c, d = chosen >> 28, chosen & 0xFFFFFFF
    subkeys = []
    for shift in _KEY_SHIFTS:
        c = (c << shift | c >> (28 - shift)) & 0xFFFFFFF
        d = (d << shift | d >> (28 - shift)) & 0xFFFFFFF
        subkeys.append(_permuted(c << 28 | d, 56, _KEY_CHOICE_2))
    return subkeys


def _round(half: int, subkey: int) -> int:
    mixed = _permuted(half, 32, _EXPANSION) ^ subkey
    result = 0
    for number, box in enumerate(_BOXES):
        six = (mixed >> (42 - 6 * number)) & 0x3F
        row, column = (six >> 4) & 2 | six & 1, (six >> 1) & 0xF
        result = result << 4 | box[row * 16 + column]
    return _permuted(result, 32, _PERMUTATION)
