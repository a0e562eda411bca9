"""The page of a study in a real browser: it draws, sorts, fits a phone, follows the colour scheme and says nothing on the console."""

import base64
import sys
from pathlib import Path

import pytest

for needed_package in ("optuna", "matplotlib"):
    pytest.importorskip(needed_package)
pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
sys.path.insert(0, str(Path(__file__).parent))
import tuning_report_studies as studies  # noqa: E402
from report_browser import DRAWN, FETCHED, WIDTHS, emulate, needed, of_body, of_chart, open_page, started_driver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from bertrec.tuning.report import write_tuning_report  # noqa: E402

pytestmark = needed
TEXTS = """
return Array.from(document.querySelectorAll('.chart svg'), (svg) => Array.from(svg.querySelectorAll('text'), (text) => {
  const box = text.getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom, text.textContent];
}));
"""
NUMBERS = "return Array.from(document.querySelector('#trials table').tBodies[0].rows, (row) => Number(row.cells[0].textContent))"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    started = started_driver(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    write_tuning_report(studies.large(), folder / "large", about=studies.ABOUT)
    write_tuning_report(studies.two_objectives(), folder / "two", about={})
    return folder


@pytest.mark.parametrize(("study", "charts"), [("large", 6), ("two", 5)])
def test_every_chart_draws_and_the_console_stays_empty(driver, folder, study, charts):
    open_page(driver, folder / study / "index.html")
    assert driver.execute_script(DRAWN) == [True] * charts
    assert driver.get_log("browser") == []
    assert driver.execute_script(FETCHED) == []


def test_the_keyboard_sorts_the_folded_table_and_trials_without_a_figure_stay_last(driver, folder):
    open_page(driver, folder / "large" / "index.html")
    # Keys, not clicks: the page scrolls smoothly, and a click may come before it has arrived.
    driver.find_element(By.CSS_SELECTOR, "#trials summary").send_keys(Keys.ENTER)
    button = next(b for b in driver.find_elements(By.CSS_SELECTOR, "#trials thead button") if b.text.startswith("NDCG@10"))
    complete = {trial.number: trial.value for trial in studies.large().trials if trial.state.name == "COMPLETE"}
    button.send_keys(Keys.ENTER)
    assert driver.execute_script(NUMBERS)[: len(complete)] == sorted(complete, key=lambda number: -complete[number])
    button.send_keys(Keys.ENTER)
    found = driver.execute_script(NUMBERS)
    assert found[: len(complete)] == sorted(complete, key=complete.get)
    assert set(found[len(complete) :]) == set(range(64)) - set(complete)


@pytest.mark.parametrize("study", ["large", "two"])
@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_screen(driver, folder, width, study):
    open_page(driver, folder / study / "index.html", width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert all(box <= width for box, _ in driver.execute_script(WIDTHS))


@pytest.mark.parametrize("study", ["large", "two"])
def test_texts_of_a_chart_do_not_cover_one_another(driver, folder, study):
    open_page(driver, folder / study / "index.html")
    for chart in driver.execute_script(TEXTS):
        for place, a in enumerate(chart):
            for b in chart[:place]:
                across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                # The rectangle of a line of text is higher than its letters.
                assert across <= 1 or down <= 4, (a, b)


@pytest.mark.parametrize("study", ["large", "two"])
def test_a_wide_screen_is_filled(driver, folder, study):
    open_page(driver, folder / study / "index.html", width=1600)
    assert all(box == inner > 0.7 * 1600 for box, inner in driver.execute_script(WIDTHS))


def test_the_page_follows_the_colour_scheme_and_prints_light(driver, folder):
    open_page(driver, folder / "large" / "index.html")
    assert min(of_body(driver), of_chart(driver)[0]) > 230
    emulate(driver, "dark")
    assert max(of_body(driver), of_chart(driver)[0]) < 60
    emulate(driver, "dark", "print")
    assert min(of_body(driver), of_chart(driver)[0]) > 230
    assert driver.execute_script(DRAWN) == [True] * 6
    assert base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]).startswith(b"%PDF")
    emulate(driver, "light")
