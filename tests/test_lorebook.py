"""Lorebooks against a straightforward reference, their keys, decorators, budgets, and patterns that never end."""

from __future__ import annotations

import random
import re
import string
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from anime_ai.persona.card import book_of
from anime_ai.persona.lorebook import Book, Entry, Lore, book_from, decorators, entry_from, scan
from anime_ai.persona.patterns import MOST_PATTERN, is_pattern, pattern


def entry(*keys: str, content: str = "内容", **told: Any) -> Entry:
    return Entry(id=content, name=content, content=content, keys=keys, **told)


def looked(
    messages: str | list[str], *entries: Entry, budget: int = 10_000, told: tuple[str, ...] = (), **book: Any
) -> Lore:
    said = [messages] if isinstance(messages, str) else messages
    return scan([Book("书", tuple(entries), **book)], said, len, budget=budget, told=told)


def fires(key: str, said: str, **told: Any) -> bool:
    return bool(looked(said, entry(key, **told)).hits)


@pytest.mark.parametrize(
    ("key", "said", "expected"),
    [
        ("猫", "那只猫真可爱", True),
        ("团子", "團子今天吃了嗎", True),  # traditional
        ("團子", "团子今天吃了吗", True),
        ("ＡＢ店", "去ab店吧", True),  # width and case
        ("ねこ", "ネコがいる", True),  # katakana
        ("カフェ", "ｶﾌｪ", True),
        ("cat", "The Cat sat", True),
        ("cat", "category", False),
        ("cat", "concat", False),
        ("cat", "我的cat很大", True),
        ("cat", "ｃａｔ", True),
        ("cat", "cat_1", False),
        ("C++", "我在学C++，很难", True),
        ("C++", "C+", False),
        ("new york", "In New York now", True),
        ("new york", "in new  york", False),
        (" 猫 ", "猫", True),
        ("", "猫", False),
        ("猫", "狗", False),
    ],
)
def test_keys(key: str, said: str, expected: bool) -> None:
    assert fires(key, said) is expected


def test_case_and_parts_of_words_where_an_entry_says_so() -> None:
    assert not fires("Cat", "a cat", exact_case=True)
    assert fires("Cat", "a Cat", exact_case=True)
    assert fires("cat", "category", whole_words=False)


@pytest.mark.parametrize(
    ("logic", "said", "expected"),
    [
        ("any", "猫 鱼", True),
        ("any", "猫", False),
        ("all", "猫 鱼", False),
        ("all", "猫 鱼 奶", True),
        ("not_any", "猫", True),
        ("not_any", "猫 鱼", False),
        ("not_all", "猫 鱼", True),
        ("not_all", "猫 鱼 奶", False),
        ("any", "鱼", False),
    ],
)
def test_secondary_keys(logic: str, said: str, expected: bool) -> None:
    assert fires("猫", said, secondary=("鱼", "奶"), logic=logic) is expected


def test_why_an_entry_fired() -> None:
    found = looked(
        "猫在 2024-05-01 来的",
        entry("猫", content="一"),
        entry("/\\d{4}-\\d\\d/", content="二"),
        entry(content="三", constant=True),
        entry("一", content="四"),
        recursive=True,
    )
    assert [(hit.content, hit.why, hit.by, hit.through) for hit in found.told] == [
        ("一", "key", "猫", ""),
        ("二", "pattern", "2024-05", ""),
        ("三", "constant", "", ""),
        ("四", "key", "一", "一"),
    ]


def test_how_far_an_entry_looks_back() -> None:
    said = ["猫", "一", "二", "三", "四"]
    assert not looked(said, entry("猫")).hits
    assert looked(said, entry("猫"), scan_depth=5).hits
    assert looked(said, entry("猫", scan_depth=5)).hits
    assert not looked(said, entry("四", scan_depth=0)).hits
    assert looked(said, entry("四", scan_depth=1)).hits
    assert not looked(said, entry("三", scan_depth=1)).hits


def test_recursion_and_its_limits() -> None:
    chain = [entry("甲", content="乙"), entry("乙", content="丙"), entry("丙", content="丁"), entry("丁", content="甲")]
    assert [hit.content for hit in looked("甲", *chain).told] == ["乙"]
    assert [hit.content for hit in looked("甲", *chain, recursive=True).told] == ["乙", "丙", "丁", "甲"]
    stopped = [chain[0], replace(chain[1], excludes_recursion=True), *chain[2:]]
    assert [hit.content for hit in looked("甲", *stopped, recursive=True).told] == ["乙"]
    silent = [replace(chain[0], prevents_recursion=True), *chain[1:]]
    assert [hit.content for hit in looked("甲", *silent, recursive=True).told] == ["乙"]
    late = [chain[0], replace(chain[1], only_recursion=True)]
    assert not looked("乙", *late, recursive=True).hits
    assert len(looked("甲", *late, recursive=True).told) == 2


def test_hidden_keys_call_up_other_entries_and_are_not_told() -> None:
    from anime_ai.persona.macros import Macros

    one, two = entry("猫", content="喵{{hidden_key:暗号}}"), entry("暗号", content="来了")
    book = Book("书", (one, two), recursive=True)
    assert [hit.content for hit in scan([book], ["猫"], len, fill=Macros("她", "你").fill).told] == ["喵", "来了"]


def test_the_budget_leaves_out_the_least_important() -> None:
    one, two = entry("猫", content="aaaa", priority=1), entry("猫", content="bbbb", priority=9)
    three = entry(content="cccc", constant=True, priority=-5)
    found = looked("猫", one, two, three, budget=9)
    assert {hit.content: hit.left_out for hit in found.hits} == {"aaaa": "budget", "bbbb": "", "cccc": ""}
    found = looked("猫", one, two, three, budget=100, **{"recursive": False})
    assert all(hit.tokens == 4 for hit in found.told)
    own = scan([Book("一", (one, two)), Book("二", (three,))], ["猫"], len, budget=4)
    assert [hit.content for hit in own.told] == ["bbbb"] or [hit.content for hit in own.told] == ["cccc"]
    tight = scan([Book("一", (one,), budget=3), Book("二", (two,))], ["猫"], len)
    assert {hit.content: hit.left_out for hit in tight.hits} == {"aaaa": "budget", "bbbb": ""}


def test_the_order_in_which_entries_are_told() -> None:
    entries = [
        entry("猫", content="after", position="after_char", order=1),
        entry("猫", content="near", depth=0, order=1),
        entry("猫", content="far", depth=4, order=9),
        entry("猫", content="second", order=20),
        entry("猫", content="first", order=3),
    ]
    assert [hit.content for hit in looked("猫", *entries).told] == ["first", "second", "after", "far", "near"]


def test_what_stands_in_the_prompt_is_not_told_again() -> None:
    found = looked("猫", entry("猫", content="喵"), told=("喵",))
    assert [(hit.content, hit.left_out) for hit in found.hits] == [("喵", "told")]


def test_probability_is_the_same_for_the_same_turn_and_about_right() -> None:
    book = Book("书", (entry("猫", probability=30),))
    drawn = [bool(scan([book], ["猫"], len, seed=str(seed), turn=3).hits) for seed in range(400)]
    assert drawn == [bool(scan([book], ["猫"], len, seed=str(seed), turn=3).hits) for seed in range(400)]
    assert 80 < sum(drawn) < 160


def test_decorators() -> None:
    content = "@@depth 3\n@@role assistant\n@@scan_depth 7\n@@position after_desc\n@@additional_keys 狗, 犬\n"
    content += "@@exclude_keys 雨，雪\n@@unheard_of 5\n@@@activate_only_after 2\n她怕打雷。\n@@depth 9"
    made = entry_from({"keys": ["猫"], "content": content, "enabled": True})
    assert made.content == "她怕打雷。\n@@depth 9"
    assert (made.depth, made.role, made.scan_depth, made.position) == (3, "assistant", 7, "after_char")
    assert (made.keys, made.excluded, made.after) == (("猫", "狗", "犬"), ("雨", "雪"), 2)
    assert entry_from({"content": "@@activate\n总在"}).constant
    assert entry_from({"content": "@@dont_activate\n从不", "constant": True}).never
    assert decorators("@@depth 1\n@@@depth 2\nx") == ("x", {"depth": "1"})
    assert decorators("plain @@depth 1") == ("plain @@depth 1", {})
    assert decorators("@@depth 1") == ("", {"depth": "1"})


def test_decorators_that_switch() -> None:
    assert looked("", entry_from({"content": "@@activate\n总在"})).hits
    assert not looked("猫", entry_from({"keys": ["猫"], "content": "@@dont_activate\n从不"})).hits
    made = entry_from({"keys": ["猫"], "content": "@@exclude_keys 雨\n晒太阳"})
    assert looked("猫", made).hits
    assert not looked("猫在雨里", made).hits
    assert looked("狗", entry_from({"keys": ["猫"], "content": "@@additional_keys 狗\nx"})).hits


def test_a_world_of_sillytavern_is_heeded() -> None:
    extensions = {"position": 4, "depth": 2, "role": 2, "selectiveLogic": 2, "probability": 50, "useProbability": False}
    extensions |= {"scan_depth": 9, "exclude_recursion": True, "match_whole_words": False, "case_sensitive": True}
    made = entry_from(
        {"keys": ["a"], "secondary_keys": ["b"], "selective": True, "content": "x", "extensions": extensions}
    )
    assert (made.depth, made.role, made.logic, made.probability, made.scan_depth) == (2, "assistant", "not_any", 100, 9)
    assert (made.excludes_recursion, made.whole_words, made.exact_case) == (True, False, True)


# Regular expressions


def test_only_slashes_make_a_pattern() -> None:
    assert is_pattern("/ab+/i")
    assert is_pattern("/a\\/b/")
    assert not any(map(is_pattern, ("a.*b", "/usr/bin/", "/a/x", "/a/ii", "//", "/a", "a/")))
    assert not fires("a.c", "abc")
    assert fires("/a.c/", "abc")


@pytest.mark.parametrize(
    ("key", "said", "expected"),
    [
        ("/CAT/i", "a cat", "cat"),
        ("/CAT/", "a cat", ""),
        ("/^二/m", "一\n二", "二"),
        ("/一.二/s", "一\n二", "一\n二"),
        ("/\\bcat\\b/", "我的cat", "cat"),
        ("/\\p{Script=Han}{2}/u", "ab猫狗", "猫狗"),
        ("/(?<who>[ab])\\k<who>/", "xaax", "aa"),
        ("/\\u{732b}/u", "猫", "猫"),
        ("/a{x}/", "a{x}", "a{x}"),
        ("/a{2,3}/", "aaaa", "aaa"),
        ("/\\//", "1/2", "/"),
        ("/(?<!不)喜欢/", "我喜欢", "喜欢"),
    ],
)
def test_patterns_as_javascript_has_them(key: str, said: str, expected: str) -> None:
    assert pattern(key).found_in(said) == (expected, "")


@pytest.mark.parametrize(
    "key", ["/(/", "/(?R)/", "/(?i)a/", "/(?>a)/", "/a{2000}/", f"/{'a' * (MOST_PATTERN + 1)}/", "/[/", "/(?P>x)/"]
)
def test_what_is_no_javascript_is_refused(key: str) -> None:
    assert pattern(key).found_in("aaaa") == ("", "broken")
    found = looked("aaaa", entry(key))
    assert (found.hits, found.broken) == ((), (key,))


ENDLESS = [
    ("/(a|aa)+$/", "a" * 5000 + "b"),
    ("/(a|a)*$/", "a" * 5000 + "b"),
    ("/^(.*?,){30}P/", "1," * 3000),
    ("/(x+x+)+y/", "x" * 3000),
    ("/((a*)*)*b/", "a" * 4000),
    ("/(猫|猫猫)+狗/", "猫" * 4000),
    ("/(\\w|\\d|_)+!/", "1" * 4000),
    ("/(?:a?){40}a{40}$/", "a" * 39 + "b"),
]


@pytest.mark.parametrize(("key", "said"), ENDLESS)
def test_a_pattern_that_would_never_end_is_stopped(key: str, said: str) -> None:
    """The whole look ends: a test that hangs here is killed by its time-out."""
    found = looked(said, entry(key), entry("别的", content="别的", constant=True))
    assert [hit.content for hit in found.told] == ["别的"]
    assert found.slow in ((), (key,))


def test_a_stopped_pattern_is_named() -> None:
    found = looked("a" * 5000 + "b", entry("/(a|aa)+$/"))
    assert found.slow == ("/(a|aa)+$/",)


def test_many_such_patterns_share_one_time() -> None:
    keys = [f"/(a|aa)+{'x' * place}$/" for place in range(300)]
    found = looked("a" * 5000 + "b", *(entry(key, content=key) for key in keys))
    assert set(found.slow) <= set(keys)
    assert len(found.slow) > 200


def test_random_patterns_end() -> None:
    chance = random.Random(5)
    atoms = ["a", "b", ".", "\\w", "(a|b)", "(a*)", "(a+)+", "[ab]*", "(a|aa)", "(?:a?b?)*", "猫"]
    done = 0
    for _ in range(40):
        body = "".join(chance.choice(atoms) + chance.choice(["", "*", "+", "?", "{2,9}"]) for _ in range(6))
        found = looked("ab" * 800 + "a" * 800, entry(f"/{body}$x/", content="一"), entry(f"/{body}/", content="二"))
        done += "一" not in [hit.content for hit in found.hits]
    assert done == 40  # each was looked for and none was found, though one alone may take years


# Against a reference


def plainly(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().translate(str.maketrans("貓鐵", "猫铁"))


def there(key: str, text: str) -> bool:
    """Whether a key stands in a text, place by place."""
    key, text = plainly(key), plainly(text)
    word = set(string.ascii_letters + string.digits + "_")
    own = any(ord(sign) > 0x2E7F for sign in key)
    for at in range(len(text) - len(key) + 1):
        if text[at : at + len(key)] != key:
            continue
        before, behind = text[:at][-1:], text[at + len(key) :][:1]
        if own or not (
            (before in word and before and key[0] in word) or (behind in word and behind and key[-1] in word)
        ):
            return True
    return False


def reference(books: list[Book], said: list[str], budget: int) -> list[str]:
    """What is told, by trying every entry again and again until nothing changes."""
    fired: dict[tuple[int, int], Entry] = {}
    for number, book in enumerate(books):
        sources: list[tuple[str, bool]] = []
        for place, one in enumerate(book.entries):
            depth = book.scan_depth if one.scan_depth is None else one.scan_depth
            text = "\n".join(said[len(said) - depth :] if depth < len(said) else said) if depth else ""
            if one.enabled and (one.constant or wanted(one, text)):
                fired[number, place] = one
        changed = book.recursive
        while changed:
            changed = False
            sources = [(one.content, one.prevents_recursion) for (at, _), one in fired.items() if at == number]
            for place, one in enumerate(book.entries):
                if (number, place) in fired or not one.enabled or one.excludes_recursion:
                    continue
                if any(wanted(one, text) for text, silent in sources if not silent):
                    fired[number, place] = one
                    changed = True
    kept: list[Entry] = []
    spent = dict.fromkeys(range(len(books)), 0)
    ranked = sorted(fired.items(), key=lambda item: item[0])
    ranked = sorted(ranked, key=lambda item: item[1].order, reverse=True)
    ranked = sorted(ranked, key=lambda item: item[1].priority, reverse=True)
    ranked = [item for item in ranked if item[1].constant] + [item for item in ranked if not item[1].constant]
    for (number, _), one in ranked:
        own = books[number].budget
        if sum(spent.values()) + len(one.content) <= budget and spent[number] + len(one.content) <= (
            budget if own is None else own
        ):
            spent[number] += len(one.content)
            kept.append(one)
    places = {"before_char": 0, "after_char": 1}
    return [one.content for one in sorted(kept, key=lambda one: (places[one.position], one.order))]


def wanted(one: Entry, text: str) -> bool:
    if not any(there(key, text) for key in one.keys) or any(there(key, text) for key in one.excluded):
        return False
    held = [there(key, text) for key in one.secondary]
    if not held:
        return True
    return {"any": any, "all": all}[one.logic.removeprefix("not_")](held) != one.logic.startswith("not_")


KEYS = ("猫", "貓铁", "cat", "at", "a", "鉄", "铁", "ＣＡＴ", "猫 cat", "b_c", "b")


@pytest.mark.parametrize("seed", range(250))
def test_books_against_the_reference(seed: int) -> None:
    chance = random.Random(seed)

    def some(most: int) -> tuple[str, ...]:
        return tuple(chance.choice(KEYS) for _ in range(chance.randint(0, most)))

    def one(number: int) -> Entry:
        content = f"{number}:" + " ".join(some(4))
        return Entry(
            id=str(number),
            name=str(number),
            content=content,
            keys=some(2),
            secondary=some(2) if chance.random() < 0.3 else (),
            excluded=some(1) if chance.random() < 0.2 else (),
            logic=chance.choice(("any", "all", "not_any", "not_all")),
            enabled=chance.random() < 0.9,
            constant=chance.random() < 0.1,
            # Of one rank and place each, so that there is one right order.
            order=number,
            priority=chance.randint(0, 2),
            position=chance.choice(("before_char", "after_char")),
            scan_depth=chance.choice((None, None, 0, 1, 3)),
            excludes_recursion=chance.random() < 0.2,
            prevents_recursion=chance.random() < 0.2,
        )

    books = [
        Book(
            str(place),
            tuple(one(100 * place + number) for number in range(chance.randint(0, 9))),
            scan_depth=chance.randint(0, 4),
            budget=chance.choice((None, 10, 40)),
            recursive=chance.random() < 0.5,
        )
        for place in range(2)
    ]
    said = [" ".join(some(3)) + chance.choice(("", "。", "x")) for _ in range(chance.randint(1, 5))]
    budget = chance.choice((5, 30, 60, 1000))
    found = scan(books, said, len, budget=budget)
    assert [hit.content for hit in found.told] == reference(books, said, budget)
    assert sum(hit.tokens for hit in found.told) <= budget


def test_a_book_out_of_json() -> None:
    value, mends = book_of(
        {"name": "书", "entries": [{"keys": ["猫"], "content": "喵"}], "scan_depth": 2, "token_budget": 9}
    )
    assert mends == ()
    book = book_from(value)
    assert (book.name, book.scan_depth, book.budget, book.entries[0].keys) == ("书", 2, 9, ("猫",))
    assert re.fullmatch(r"\d+", book.entries[0].id)


def test_the_shipped_books_fire_on_their_keys() -> None:
    from anime_ai.persona.cards import Personas

    for persona in Personas().list():
        assert persona.card is not None
        assert persona.card.book is not None
        book = book_from(persona.card.book)
        for one in book.entries:
            hits = scan([book], [f"说说{one.keys[0]}吧"], len).told
            assert one.content in [hit.content for hit in hits], (persona.name, one.name)
