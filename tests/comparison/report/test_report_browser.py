"""The page in a real browser: it draws, sorts, fits a phone, follows the colour scheme and says nothing on the console."""

import base64

import pytest

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from report_browser import DRAWN, FETCHED, WIDTHS, emulate, needed, of_body, of_chart, open_page, started_driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = needed
LABELS = """
return Array.from(document.querySelectorAll(arguments[0] + ' svg text'), (text) => {
  const box = text.getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
});
"""
NAMES = "return Array.from(document.querySelectorAll('#models table')[0].tBodies[0].rows, (row) => row.cells[0].textContent)"
LAST = "return Array.from(document.querySelectorAll('#models table')[0].tBodies[1].rows, (row) => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    started = started_driver(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


@pytest.fixture
def opened(driver, report):
    """Open the page afresh, at a width and in a colour scheme, and wait until all is drawn."""
    return lambda **how: open_page(driver, report / "index.html", **how)


def head(driver, title):
    buttons = driver.find_elements(By.CSS_SELECTOR, "#models table:first-of-type thead button")
    return next(button for button in buttons if button.text.split("\n")[0].strip().startswith(title))


def test_every_chart_draws_and_the_console_stays_empty(opened):
    driver = opened()
    assert driver.execute_script(DRAWN) == [True] * 3
    assert driver.get_log("browser") == []
    assert driver.execute_script(FETCHED) == []


def test_a_harmful_name_is_shown_and_not_run(opened):
    driver = opened()
    assert driver.execute_script(LAST)[0] == "<script>alert(1)</script>"


def test_a_click_sorts_and_what_failed_stays_last(opened):
    driver = opened()
    ranked = driver.execute_script(NAMES)
    last = driver.execute_script(LAST)
    head(driver, "fit minutes").click()
    slowest = driver.execute_script(NAMES)
    assert slowest[:3] == ["recbole:BERT4Rec", "morec", "recbole:SASRec"]
    assert slowest[-1] == "recbole:Pop"
    head(driver, "fit minutes").click()
    assert driver.execute_script(NAMES) == slowest[::-1]
    assert driver.execute_script(LAST) == last
    head(driver, "NDCG@10").click()
    assert driver.execute_script(NAMES) == ranked


def test_the_keyboard_sorts_and_the_order_is_announced(opened):
    driver = opened()
    button = head(driver, "model")
    button.send_keys(Keys.ENTER)
    names = driver.execute_script(NAMES)
    assert names == sorted(names, key=str.casefold)
    orders = driver.execute_script(
        "return Array.from(document.querySelectorAll('#models table')[0].tHead.rows[0].cells, (c) => c.ariaSort)"
    )
    assert orders == ["ascending", *["none"] * (len(orders) - 1)]
    button.send_keys(Keys.SPACE)
    assert driver.execute_script(NAMES) == names[::-1]


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_screen(opened, width):
    driver = opened(width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    boxes = driver.execute_script(WIDTHS)
    assert all(box <= width and inner >= 860 for box, inner in boxes)  # a chart stays legible and scrolls in its box


@pytest.mark.parametrize("width", [1024, 1600, 1920])
def test_a_wide_screen_is_filled_and_charts_fit_it(opened, width):
    driver = opened(width=width)
    boxes = driver.execute_script(WIDTHS)
    assert all(box == inner > 0.7 * width for box, inner in boxes)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("section", ["#time", "#slices", "#curves"])
def test_texts_of_a_chart_do_not_cover_one_another(opened, width, section):
    boxes = opened(width=width).execute_script(LABELS, section)
    assert len(boxes) > 15
    for place, a in enumerate(boxes):
        for b in boxes[:place]:
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            # The rectangle of a line of text is higher than its letters.
            assert across <= 1 or down <= 4, (width, a, b)


def test_the_page_and_its_charts_follow_the_colour_scheme_at_once(opened):
    driver = opened(scheme="light")
    for scheme, light in (("light", True), ("dark", False), ("light", True)):
        emulate(driver, scheme)
        ground, letters = of_chart(driver)
        assert (of_body(driver) > 230) == light
        assert (ground > 230, letters > 150) == (light, not light)


def test_print_is_light_whole_and_fits_the_paper(opened):
    driver = opened(scheme="dark")
    emulate(driver, "dark", "print")
    assert of_body(driver) > 230
    assert of_chart(driver)[0] > 230
    assert driver.execute_script(DRAWN) == [True] * 3
    assert all(box == inner for box, inner in driver.execute_script(WIDTHS))
    folded = "return Array.from(document.querySelectorAll('details .scroll'), (box) => box.clientHeight > 20)"
    assert set(driver.execute_script(folded)) == {True}
    document = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert document.startswith(b"%PDF")
