"""The page of the service in a real browser, against a service of a small trained run."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytest.importorskip("fastapi", reason="fastapi is not installed")
from page_shop import HOSTILE, NEW, TITLES, trained_shop
from report_browser import emulate, lightness, needed, of_body, open_page, started_driver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from services import Service

pytestmark = needed
KEY = "sesame"
# Words of an element and how far their colour is from the ground below them, by the formula of WCAG 2.2.
CONTRASTS = """
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
const ground = (one) => {
  for (let up = one; up; up = up.parentElement) {
    const colour = numbers(getComputedStyle(up).backgroundColor);
    if (colour[3] !== 0) return colour;
  }
  return [255, 255, 255];
};
return Array.from(document.querySelectorAll('body *')).filter((one) => one.checkVisibility() && !one.disabled &&
  Array.from(one.childNodes).some((child) => child.nodeType === 3 && child.textContent.trim())).map((one) => {
    const [a, b] = [light(numbers(getComputedStyle(one).color)), light(ground(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.trim()];
  });
"""
ROWS = """
return Array.from(document.querySelectorAll(arguments[0] + ' > li'), (row) => ({
  title: row.querySelector('h3 bdi').textContent, rank: row.querySelector('.rank').textContent, new: !!row.querySelector('.badge'),
  because: row.querySelector('.because')?.textContent ?? null,
  attributes: Object.fromEntries(Array.from(row.querySelectorAll('dl div'), (pair) => Array.from(pair.children, (one) => one.textContent))),
}));
"""
CHIPS = "return Array.from(document.querySelectorAll('#history > li > span'), (chip) => chip.textContent)"
OPTIONS = "return Array.from(document.querySelectorAll('#suggestions:not([hidden]) > li'), (option) => option.textContent)"
WIDE = "return [document.documentElement.scrollWidth, innerWidth, document.querySelector('dialog').scrollWidth]"
FOCUSED = "return document.activeElement.id || document.activeElement.getAttribute('aria-label')"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_shop(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def service(run):
    started = Service(run)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    started = started_driver(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


class Page:
    """What a person sees and does."""

    def __init__(self, driver, service):
        self.driver, self.service = driver, service

    def open(self, view="", **how):
        self.driver.get("about:blank")  # another # of the same address would not load it anew
        self.driver.get_log("browser")
        open_page(self.driver, self.service.url + view, **how)
        return self.settled()

    def until(self, condition):
        """Wait until something holds, and return it."""
        return WebDriverWait(self.driver, 30, 0.05).until(lambda _: condition())

    def settled(self, items="#items"):
        self.until(lambda: self.one(items).get_attribute("aria-busy") == "false")
        return self

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.one(selector).get_attribute("textContent").strip()

    def rows(self, items="#items"):
        return self.driver.execute_script(ROWS, items)

    def titles(self, items="#items"):
        return [row["title"] for row in self.rows(items)]

    def chips(self):
        return self.driver.execute_script(CHIPS)

    def options(self):
        return self.driver.execute_script(OPTIONS)

    def focused(self):
        return self.driver.execute_script(FOCUSED)

    def keys(self, *keys, held=None):
        """Press keys where the focus is, one with another held; the page may draw the element that has it anew at any moment."""
        chain = ActionChains(self.driver)
        chain = chain.send_keys(*keys) if held is None else chain.key_down(held).send_keys(*keys).key_up(held)
        chain.perform()

    def type(self, words):
        """Tab from the top to the search field and type there."""
        self.driver.execute_script("document.activeElement.blur()")
        while self.focused() != "query":
            self.keys(Keys.TAB)
        self.keys(words)
        return self.until(self.options)

    def expected(self, history, **rules):
        return self.service.titles("recommend", {"history": history, **rules})

    def shows(self, titles, items="#items"):
        """Wait until these are the titles of the list."""
        self.until(lambda: self.titles(items) == titles)
        return True


@pytest.fixture
def page(driver, service):
    return Page(driver, service)


def reason(item):
    """Return how the page says why an item stands in a list; the title is not said twice."""
    if item["why"] is None:
        return None
    name, _, text = item["why"]["words"].partition(": ")
    part = f", and its own {name}: {text}" if text and text != item["title"] else ""
    return f"because of {item['why']['title']}{part}"


def unnamed_controls(driver):
    """Return the controls of the accessibility tree that have no name."""
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    kinds = {"button", "combobox", "textbox", "spinbutton", "slider", "radio", "listbox", "option", "dialog", "searchbox"}
    controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in kinds]
    assert len(controls) > 10
    return [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")]


class TestSearchAsYouType:
    def test_an_item_is_picked_with_the_keyboard_alone(self, page):
        page.open()
        assert page.type("kett") == ["Red Kettle", "Blue Kettle", "Copper Kettle", "Search “kett” by meaning"]
        field = page.one("#query")
        assert (field.get_attribute("role"), field.get_attribute("aria-expanded")) == ("combobox", "true")
        page.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
        active = field.get_attribute("aria-activedescendant")
        assert page.text(f"#{active}") == "Blue Kettle"
        assert page.one(f"#{active}").get_attribute("aria-selected") == "true"
        page.keys(Keys.ENTER)
        assert page.shows(page.expected(["101"]))
        assert page.chips() == ["Blue Kettle"]
        assert (page.focused(), field.get_attribute("value"), field.get_attribute("aria-expanded")) == ("query", "", "false")
        assert page.text("#live") == "Blue Kettle is now the newest of the history"

    def test_arrows_go_round_and_escape_closes_then_empties(self, page):
        page.open()
        page.type("lamp")
        page.keys(Keys.ARROW_UP)
        assert page.text("#suggestions [aria-selected=true]") == "Search “lamp” by meaning"
        page.keys(Keys.ARROW_DOWN)
        assert page.one("#query").get_attribute("aria-activedescendant") is None
        page.keys(Keys.ESCAPE)
        assert page.options() == []
        assert page.one("#query").get_attribute("value") == "lamp"
        page.keys(Keys.ESCAPE)
        assert page.one("#query").get_attribute("value") == ""

    def test_enter_searches_by_meaning(self, page):
        page.open()
        page.type("brass lamp")
        page.keys(Keys.ENTER)
        assert page.shows(page.service.titles("search", {"text": "brass lamp"}), "#panel-items")
        assert page.text("#panel-title") == "Found for “brass lamp”"
        page.keys(Keys.ESCAPE)
        assert page.one("#panel").get_attribute("open") is None
        assert page.focused() == "query"

    def test_an_item_that_is_taken_again_becomes_the_newest(self, page):
        page.open("#item=100&item=104")
        page.type("red")
        page.keys(Keys.ARROW_DOWN, Keys.ENTER)
        assert page.chips() == ["Oak Shelf", "Red Kettle"]


class TestHistory:
    def test_the_list_is_what_the_service_answers_with_its_reasons(self, page):
        page.open("#item=100&item=104")
        answer = page.service.ask("recommend", {"history": ["100", "104"], "why": True})
        rows = page.rows()
        assert [row["title"] for row in rows] == [item["title"] for item in answer["items"]]
        assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 11)]
        assert [row["because"] for row in rows] == [reason(item) for item in answer["items"]]
        assert {row["because"].split(",")[0] for row in rows if row["because"]} <= {"because of Red Kettle", "because of Oak Shelf"}
        assert rows[0]["attributes"].keys() >= {"kind", "price", "in_stock"}

    def test_chips_move_and_go_by_button_and_by_key(self, page):
        page.open("#item=100&item=104&item=106")
        page.one("#history li:last-child [data-does=up]").send_keys(Keys.ENTER)
        assert page.chips() == ["Red Kettle", "Steel Lamp", "Oak Shelf"]
        assert page.shows(page.expected(["100", "106", "104"]))
        assert page.focused() == "Earlier: Steel Lamp"  # it can go on at once
        page.keys(Keys.ARROW_UP, held=Keys.ALT)
        assert page.chips() == ["Steel Lamp", "Red Kettle", "Oak Shelf"]
        assert page.focused() == "Later: Steel Lamp"
        page.keys(Keys.DELETE)
        assert page.chips() == ["Red Kettle", "Oak Shelf"]
        assert page.shows(page.expected(["100", "104"]))
        assert page.focused() == "Remove: Red Kettle"
        assert page.text("#live") == "Steel Lamp is taken out"

    def test_the_address_holds_the_view(self, page):
        page.open("#item=100")
        page.type("oak")
        page.keys(Keys.ARROW_DOWN, Keys.ENTER)
        page.shows(page.expected(["100", "104"]))
        assert urlsplit(page.driver.current_url).fragment == "item=100&item=104"
        page.driver.back()
        page.until(lambda: page.chips() == ["Red Kettle"])
        page.open("#item=108&filter=price+%3C+50&k=5&diversity=0.3&at_most=1+kind")
        assert page.titles() == page.expected(["108"], filter="price < 50", k=5, diversity=0.3, at_most={"kind": 1})
        shown = {name: page.one(f"#{name}").get_attribute("value") for name in ("filter", "k", "diversity", "at-most-number")}
        assert shown == {"filter": "price < 50", "k": "5", "diversity": "0.3", "at-most-number": "1"}
        assert page.text("#active") == "3 in use"

    def test_nobody_is_known_yet(self, page):
        page.open()
        assert page.titles() == page.expected([])
        assert "the most popular" in page.text("#summary")
        assert "cold user" in page.text("#history-note")
        assert {row["because"] for row in page.rows()} == {None}
        page.open("#item=100")
        assert "the most popular" not in page.text("#summary")
        page.one("#clear").click()
        page.until(lambda: "the most popular" in page.text("#summary"))
        assert page.chips() == []

    def test_a_known_user_is_loaded_and_their_history_goes_on(self, page):
        page.open()
        page.one("#user").send_keys("1", Keys.ENTER)
        page.until(lambda: page.chips() == [TITLES[str(item)] for item in range(101, 106)])
        page.settled()
        assert page.text("#history-title") == "History of user 1"
        assert page.titles() == page.service.titles("recommend", {"user": "1"})
        page.one("#history li:last-child [data-does=remove]").click()
        assert page.shows(page.expected(["101", "102", "103", "104"]))
        assert page.text("#history-title") == "History"

    def test_an_unknown_user_is_said_and_the_list_is_marked_as_the_old_one(self, page):
        page.open()
        before = page.titles()
        page.one("#user").send_keys("nobody", Keys.ENTER)
        assert "nobody" in page.until(lambda: page.text("#problem"))
        assert page.titles() == before
        assert page.text("#summary") == "The list below is the one from before."


class TestRules:
    def test_a_wrong_filter_is_said_beside_it_and_mended(self, page):
        page.open("#item=100")
        field = page.one("#filter")
        field.send_keys("prise < 50", Keys.ENTER)
        problem = page.until(lambda: page.text("#filter-problem"))
        assert "did you mean 'price'" in problem
        assert field.get_attribute("aria-invalid") is not None
        assert "filter-problem" in field.get_attribute("aria-describedby").split()
        assert page.text("#problem") == ""
        field.clear()
        field.send_keys("price < 50", Keys.ENTER)
        assert page.shows(page.expected(["100"], filter="price < 50"))
        assert page.text("#filter-problem") == ""
        assert field.get_attribute("aria-invalid") is None
        assert max(float(row["attributes"]["price"]) for row in page.rows()) < 50

    def test_attributes_are_hints_to_press(self, page):
        page.open("#item=100")
        page.one("#attributes > summary").click()
        page.one("#attribute-list [aria-label='kind is wood']").click()
        assert page.shows(page.expected(["100"], filter="kind == 'wood'"))
        assert page.one("#filter").get_attribute("value") == "kind == 'wood'"
        page.one("#attribute-list [aria-label^='price,']").click()
        page.keys("70", Keys.ENTER)
        assert page.shows(["Pine Shelf"])

    def test_at_most_so_many_of_a_kind(self, page):
        page.open("#item=100")
        page.one("#at-most-attribute").send_keys("kind")
        page.one("#at-most-number").send_keys("1", Keys.ENTER)
        assert page.shows(page.expected(["100"], at_most={"kind": 1}))
        kinds = [row["attributes"]["kind"] for row in page.rows()]
        assert len(kinds) == len(set(kinds))

    def test_what_came_after_the_training_has_a_badge(self, page):
        page.open("#item=100&k=20")
        assert {row["title"] for row in page.rows() if row["new"]} == NEW
        assert len(page.rows()) == 11


class TestSimilarItems:
    def test_the_panel_lists_them_and_gives_the_focus_back(self, page):
        page.open("#item=100")
        first = page.titles()[0]
        identifier = next(one for one, title in TITLES.items() if title == first)
        opener = page.one("#items li:first-child .actions button")
        opener.send_keys(Keys.ENTER)
        assert page.shows(page.service.titles("similar", {"item": identifier}), "#panel-items")
        assert page.text("#panel-title") == f"Like {first}"
        page.one("#by input[value=text]").send_keys(Keys.SPACE)
        assert page.shows(page.service.titles("similar", {"item": identifier, "by": "text"}), "#panel-items")
        page.keys(Keys.ESCAPE)
        assert page.driver.switch_to.active_element == opener

    def test_an_item_of_the_panel_joins_the_history(self, page):
        page.open("#item=100")
        page.one("#items li:first-child .actions button").click()
        page.until(lambda: page.titles("#panel-items"))
        wanted = next(title for title in page.titles("#panel-items") if title != "Red Kettle")
        row = page.titles("#panel-items").index(wanted) + 1
        page.one(f"#panel-items li:nth-child({row}) .actions button:last-child").click()
        page.until(lambda: page.chips() == ["Red Kettle", wanted])


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_all_words_stand_out_in_either_scheme(self, page, scheme):
        page.open("#item=100&item=104&k=20", scheme=scheme)
        assert (of_body(page.driver) > 128) == (scheme == "light")
        weak = [pair for pair in page.driver.execute_script(CONTRASTS) if pair[0] < 4.5]
        assert weak == []

    def test_the_scheme_is_followed_at_once(self, page):
        page.open()
        emulate(page.driver, "dark")
        assert of_body(page.driver) < 60
        ink = page.driver.execute_script("return getComputedStyle(document.body).color")
        assert lightness(ink) > 200

    @pytest.mark.parametrize("view", ["", "#item=103&item=104&filter=price+%3C+500", "#user=1"])
    def test_a_phone_need_not_scroll_sideways(self, page, view):
        page.open(view, width=360)
        page.driver.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.one("#items .actions button").click()
        page.until(lambda: page.titles("#panel-items"))
        content, width, panel = page.driver.execute_script(WIDE)
        assert width == 360
        assert content <= 360
        assert panel <= 360

    def test_every_control_has_a_name(self, page):
        page.open("#item=100&item=104")
        page.type("lamp")
        assert unnamed_controls(page.driver) == []

    def test_the_keyboard_reaches_everything_and_the_focus_is_seen(self, page):
        page.open("#item=100")
        page.driver.execute_script("document.activeElement.blur()")
        seen = []
        for _ in range(60):
            page.keys(Keys.TAB)
            style = "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]"
            assert page.driver.execute_script(style) == ["solid", "2px"], page.focused()
            seen.append(page.focused())
            if str(seen[-1]).startswith("Similar: "):
                break
        wanted = ["query", "user", "filter", "at-most-number", "at-most-attribute", "diversity", "k"]
        assert [name for name in seen if name in wanted] == wanted


class TestWhatOthersWrote:
    def test_a_harmful_title_stays_text_wherever_it_is_shown(self, page):
        page.open("#item=103&k=20")
        assert page.chips() == [HOSTILE]
        assert any((row["because"] or "").startswith(f"because of {HOSTILE}") for row in page.rows())
        page.open("#k=20")
        assert HOSTILE in page.titles()
        assert HOSTILE in page.type("img")
        page.keys(Keys.ESCAPE)
        page.one(f"#items li:nth-child({1 + page.titles().index(HOSTILE)}) .actions button").click()
        page.until(lambda: page.titles("#panel-items"))
        assert page.text("#panel-title") == f"Like {HOSTILE}"
        assert page.driver.execute_script("return document.images.length") == 0
        assert "harmed" not in page.driver.title

    def test_nothing_is_asked_of_another_host(self, page):
        page.driver.get_log("performance")
        page.open("#item=100")
        page.type("lamp")
        page.keys(Keys.ENTER)
        page.until(lambda: page.titles("#panel-items"))
        messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        asked = [url for url in asked if url != "about:blank"]
        paths = {urlsplit(url).path for url in asked if url.startswith(page.service.url)}
        assert {"/", "/page/page.js", "/page/page.css", "/health", "/recommend", "/titles", "/search"} <= paths
        assert [url for url in asked if not url.startswith(page.service.url)] == []
        assert page.driver.get_log("browser") == []  # a breach of the policy would be said here

    def test_the_policy_allows_nothing_but_the_service(self, page):
        page.open()
        policy = page.driver.execute_async_script(
            "const done = arguments[0]; fetch('/').then((answer) => done(answer.headers.get('content-security-policy')));"
        )
        assert re.search(r"default-src '(self|none)'", policy)
        assert "unsafe" not in policy


class TestTrouble:
    def test_a_key_is_asked_for_and_kept_for_the_tab_alone(self, driver, run):
        service = Service(run, key=KEY)
        page = Page(driver, service)
        try:
            page.open()
            page.until(lambda: page.one("#key").is_displayed())
            assert page.focused() == "key-field"
            page.keys("wrong", Keys.ENTER)
            assert page.until(lambda: page.text("#key-problem"))
            page.keys(KEY, Keys.ENTER)
            assert page.shows(page.expected([]))
            assert not page.one("#key").is_displayed()
            assert page.focused() == "results"
            kept = "return [localStorage.length, document.cookie, location.href.includes(arguments[0])]"
            assert page.driver.execute_script(kept, KEY) == [0, "", False]
            page.driver.refresh()
            assert page.shows(page.expected([]))
        finally:
            service.stop()

    def test_a_service_that_is_away_is_said_and_asked_again(self, page):
        page.open("#item=100")
        away = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.driver.execute_cdp_cmd("Network.enable", {})
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", away)
        try:
            page.one("#clear").click()
            assert page.until(lambda: page.text("#problem")) == "The service does not answer."
        finally:
            page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", away | {"offline": False})
        page.one("#again").click()
        assert page.shows(page.expected([]))
        page.until(lambda: not page.one("#trouble").is_displayed())
