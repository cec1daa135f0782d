"""People at the app, over real HTTP: visitors who chat, show pictures, leave in mid-answer and reload; the owner, who
adds documents and pictures. Knows neither the app's process nor its files.

What the app has acknowledged stands in the `Book`, and every error that it told.
"""

from __future__ import annotations

import asyncio
import io
import random
import re
import time
import uuid
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import httpx
from people import Browser
from PIL import Image, ImageDraw

from anime_ai.models.engine import Sampling
from anime_ai.texts import catalogue
from anime_ai.ui.sampling_form import SamplingForm

PATIENCE = 600.0
"""Seconds after which an answer that has not ended counts as a fault: the app itself cuts one off after 300."""
PAUSE = (4.0, 16.0)
"""Seconds that somebody reads and types."""
ACTS = {"ask": 58, "leave": 12, "stop": 5, "again": 6, "reload": 8, "picture": 5, "renew": 3, "look": 3}
"""What a visitor does next, by weight."""
QUESTIONS = (
    *("早上好", "你喜欢什么动漫？", "今天好累", "可以帮我写作业吗？", "晚安", "你生气了吗？", "外面下雨了"),
    *("乔絮的生日是哪天？", "缝云铺在哪里？", "凉糖是什么味道的？", "你会唱歌吗？", "我饿了", "陪我聊聊吧"),
)
ROW = re.compile(
    r'<article class="message-row \w+" data-message="(?P<id>\w+)">.*?'
    r'<div class="message-content">(?P<text>.*?)</div>',
    re.DOTALL,
)
MARKUP = re.compile(r'<a class="cite".*?</a>|<[^>]+>', re.DOTALL)
DECLARED = [
    re.compile("Queue is full"),
    *(
        re.compile(".+".join(map(re.escape, re.split(r"\{[^}]*\}", said))), re.DOTALL)
        for key, said in catalogue("zh").items()
        if key.startswith("error.")
    ),
]


@dataclass
class Book:
    """`said`: messages by id as a page showed them, `asked`: questions whose answer had begun, `documents` and
    `pictures`: what the owner was told is kept. `declared`: errors that the app has words for; `faults`: all others."""

    said: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    documents: dict[str, str] = field(default_factory=dict)
    pictures: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    declared: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    over: bool = False

    def refused(self, said: str, where: str) -> None:
        """An error in words."""
        if any(pattern.fullmatch(said) for pattern in DECLARED):
            self.declared[re.sub(r"\d+", "…", said)] += 1
        else:
            self.fault(f"{where}: {said}")

    def fault(self, what: str) -> None:
        if not self.over:
            self.faults.append(what[:300])


class Visitor(Browser):
    """One browser. `live` until it is cancelled."""

    def __init__(self, address: str, config: dict[str, Any], book: Book, number: int) -> None:
        super().__init__(address, config)
        self.book, self.number = book, number
        self.chance = random.Random(number)
        self.adapter = ""
        self.last = ""
        self.shown: set[str] = set()
        self.busy = False
        self.asked = 0

    def refused(self, said: str, where: str) -> None:
        self.book.refused(said, where)

    def failed(self, what: str) -> None:
        self.book.fault(what)

    async def live(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, 8))
        while True:
            try:
                await self.load()
                break
            except httpx.HTTPError as error:
                self.book.fault(f"load: {error!r}")
                await asyncio.sleep(1)
        while True:
            act = self.chance.choices([*ACTS], [*ACTS.values()])[0]
            self.busy = True
            try:
                await asyncio.wait_for(getattr(self, act)(), PATIENCE)
                self.book.done[act] += 1
                self.busy = False
            except (httpx.HTTPError, asyncio.TimeoutError) as error:
                self.book.fault(f"{act}: {error!r}")
            await asyncio.sleep(self.chance.uniform(*PAUSE))

    # The page.

    async def load(self) -> str:
        """Open the page anew: its line of messages."""
        await self.open()
        while (data := await self.call(self.index("arrive"))) is None:  # nobody writes on a page that shows nothing
            await asyncio.sleep(self.chance.uniform(*PAUSE))
        self.adapter = data[5]["value"]
        self._read(str(data[6]))
        return str(data[6])

    # What is done on it.

    def _question(self) -> str:
        self.asked += 1
        return f"{self.chance.choice(QUESTIONS)}（{self.number}号第{self.asked}句）"

    def _sending(self, question: str) -> list[Any]:
        knobs = [False, *SamplingForm._set(Sampling(max_new_tokens=160))[1:]]
        return [question, None, self.adapter, *knobs, None, [], ""]

    def _read(self, line: str) -> None:
        """A line of messages is shown."""
        found = {one["id"]: unescape(MARKUP.sub("", one["text"])) for one in ROW.finditer(line)}
        self.book.said.update(found)
        self.shown, self.last = set(found), list(found)[-1] if found else ""

    async def _answered(
        self, index: int, data: list[Any], question: str = "", event: Any = None, leave: int = 0
    ) -> None:
        """Read an answer; `leave` behind so many of its pieces."""
        began, pieces = time.monotonic(), 0
        async with aclosing(self.events(index, data, event)) as told:
            async for one in told:
                if one["msg"] == "process_generating" and one["success"]:
                    pieces += 1  # the first says that it is being waited for
                    if pieces == 2:
                        self.book.firsts.append(time.monotonic() - began)
                        self.book.asked |= {question} - {""}
                    if leave and pieces > leave:
                        return
                elif one["msg"] == "process_completed" and one["success"]:
                    self.book.wholes.append(time.monotonic() - began)
                    if isinstance(line := one["output"]["data"][0], str):
                        self._read(line)

    async def ask(self) -> None:
        question = self._question()
        await self._answered(self.index("send"), self._sending(question), question)

    async def leave(self) -> None:
        """Close the page in mid-answer, and come back."""
        question = self._question()
        await self._answered(self.index("send"), self._sending(question), question, leave=self.chance.randint(1, 3))
        await self.close()
        await asyncio.sleep(self.chance.uniform(0, 3))
        await self.load()

    async def stop(self) -> None:
        """Ask, and press the button that stops her."""
        question = self._question()

        async def press() -> None:
            await asyncio.sleep(self.chance.uniform(0.2, 1.5))
            stop = self.index("stop")
            dependency = next(one for one in self.config["dependencies"] if one["id"] == stop)
            body = {"data": self.held.sent(dependency, [None]), "fn_index": stop, "session_hash": self.session}
            pressed = await self.http.post("/gradio_api/queue/join", json=body)
            if pressed.status_code not in (200, 503):
                self.book.fault(f"stop: {pressed.status_code} {pressed.text}")

        await asyncio.gather(self._answered(self.index("send"), self._sending(question), question), press())

    async def again(self) -> None:
        if not self.last:
            return await self.ask()
        event = {"act": "again", "id": self.last}
        await self._answered(self.index("act_on_message"), [None, *self._sending("")[2:-3]], event=event)

    async def reload(self) -> None:
        await self.close()
        await self.load()

    async def picture(self) -> None:
        """Show a picture and ask about it."""
        sent = await self.upload("图.png", portrait(self.chance))
        if sent is None or await self.call(self.index("attach"), [sent]) is None:
            return
        await self.ask()

    async def renew(self) -> None:
        """Begin another conversation."""
        data = await self.call(self.index("clear"), [None, self.adapter])
        if data is not None:
            self._read(str(data[6]))

    async def look(self) -> None:
        """Search the knowledge."""
        data = await self.call(self.index("search"), [self.chance.choice(QUESTIONS), await self._base()])
        if data is not None and not data:
            self.book.fault("search: no answer")

    async def _base(self) -> str:
        """The knowledge base that its tab opens first."""
        data = await self.call(self.index_of("arrive", "base"))
        return str(data[0]["value"]) if data else ""


class Owner(Visitor):
    """Adds documents and pictures, throws old documents away, and chats."""

    MOST = 20
    base = ""

    async def enter(self, password: str) -> None:
        """Log in, and make a knowledge base to fill."""
        answer = await self.http.post("/login", data={"password": password})
        assert answer.status_code == 303, answer.text
        await self.load()
        before = await self._bases()
        assert (
            await self.call(self.index_of("create", "base"), [f"浸泡{uuid.uuid4().hex[:6]}", False, None]) is not None
        )
        (self.base,) = set(await self._bases()) - set(before)

    async def _bases(self) -> list[str]:
        data = await self.call(self.index_of("arrive", "base"))
        assert data is not None
        return [choice[1] for choice in data[0]["choices"]]

    async def live(self) -> None:
        number = 1
        while True:
            number += 1
            try:
                await asyncio.wait_for(self.add(number), PATIENCE)
                await asyncio.wait_for(self.show(), PATIENCE)
                await asyncio.wait_for(self.ask(), PATIENCE)
                await asyncio.wait_for(self.forget(), PATIENCE)
            except (httpx.HTTPError, asyncio.TimeoutError) as error:
                self.book.fault(f"owner: {error!r}")
            await asyncio.sleep(self.chance.uniform(*PAUSE))

    async def add(self, number: int) -> None:
        """Two documents."""
        mark = f"青石{number}号灯塔"
        told = "\n\n".join(
            f"{mark}的第{floor}层住着{self.chance.choice('雪月花鸟风云')}{floor}，每天傍晚点灯。"
            for floor in range(1, 30)
        )
        names = [f"{mark}.md", f"{mark}的故事.txt"]
        files = [await self.upload(name, f"{name}\n\n{told}".encode()) for name in names]
        data = await self.call(self.index_of("upload", "base"), [files, self.base])
        if data is None:
            return
        if str(data[0]).count('class="good"') != len(names):
            self.book.fault(f"documents: {data[0]}")
        self.book.documents |= dict.fromkeys(names, mark)
        self.book.done["document"] += len(names)

    async def show(self) -> None:
        """Two pictures."""
        files = [await self.upload(f"{place}.png", portrait(self.chance)) for place in range(2)]
        data = await self.call(self.index_of("upload", "shelf"), [files])
        if data is not None:
            self.book.pictures |= set(re.findall(r"thumb/(\w+)\.webp", str(data[3])))
            self.book.done["picture of the owner"] += len(files)

    async def forget(self) -> None:
        """The oldest document goes where there are many."""
        if len(self.book.documents) <= self.MOST:
            return
        data = await self.call(self.index_of("arrive", "base"), [self.base])
        listed = re.findall(r'data-document="(\w+)".*?<div>(.*?)</div>', str(data[3] if data else ""), re.DOTALL)
        name = next(iter(self.book.documents))
        self.book.documents.pop(name)
        found = [id for id, title in listed if unescape(title) in (name, Path(name).stem)]
        for id in found:
            await self.call(self.index_of("choose", "base"), [self.base], {"document": id})
        if len(found) != 1 or await self.call(self.index_of("remove", "base"), [self.base, None]) is None:
            self.book.fault(f"{name} could not be removed")
        self.book.done["document removed"] += 1


def portrait(chance: random.Random) -> bytes:
    """A drawing that nobody has seen."""
    picture = Image.new("RGB", (256, 256), tuple(chance.randint(0, 255) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = chance.randint(0, 200), chance.randint(0, 200)
        draw.ellipse((x, y, x + 40, y + 50), fill=tuple(chance.randint(0, 255) for _ in range(3)))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
