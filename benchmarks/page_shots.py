"""Pictures of the service's page for the documentation, of a shop that is made up here: ``python -m benchmarks.page_shots``.

Needs Chromium with its driver. The run is trained anew each time (about a minute); seed 0.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))  # the browser and the service are started as the tests start them

# Found by the line above alone, hence after it (E402).
from report_browser import emulate, open_page, started_driver  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from services import Service  # noqa: E402

from bertrec.cli.main import main  # noqa: E402

OUT = ROOT / "docs" / "service"
LARGEST = 80_000  # bytes of a picture
BRANDS = ["Nordvik", "Almera", "Tarnhow", "Kestrel & Co"]
# What is taken together; a name that ends in * came after the training.
SHELVES = {
    "hiking": "Waterproof hiking boots|Trail running shoes|Merino hiking socks|Carbon trekking poles|Rain jacket, ultralight|Gaiters|"
    "Day pack 22 L|Fleece pullover|Folding map case|Approach shoes*",
    "camping": "Two-person tent|Down sleeping bag|Inflatable sleeping mat|Gas stove, one burner|Titanium mug|Headlamp, 400 lumen|"
    "Solar lantern|Water filter|Folding camp chair|Hammock with straps*",
    "climbing": "Climbing harness|Chalk bag|Climbing helmet|Dynamic rope 60 m|Belay device|Set of quickdraws|Climbing shoes|"
    "Bouldering crash pad|Finger board|Rope bag*",
    "winter": "Snow shoes|Ski touring skins|Avalanche shovel|Insulated mittens|Down jacket|Wool beanie|Ski goggles|Thermal leggings|"
    "Hot drink flask|Ice axe*",
    "kitchen": "Enamel kettle|Cast-iron pan|Moka pot|Bread knife|Walnut chopping board|Pepper mill|Set of mixing bowls|Tea towels, linen|"
    "Espresso cups|Hand coffee grinder*",
    "garden": "Pruning shears|Watering can, zinc|Seed trays|Garden twine|Hand trowel|Raised bed kit|Kneeling pad|Leaf rake|Tomato stakes|"
    "Compost thermometer*",
}
SETTINGS = ["item.width=32", "head.layers=1", "train.batch_size=64", "train.learning_rate=0.003"]


def products() -> list[dict[str, Any]]:
    """Return the products; prices, brands and stock are drawn."""
    draw = np.random.default_rng(0)
    named = [(shelf, name) for shelf, names in SHELVES.items() for name in names.split("|")]
    return [
        {
            "item_id": f"p{place:02d}",
            "title": name.removesuffix("*"),
            "shelf": shelf,
            "brand": BRANDS[int(draw.integers(len(BRANDS)))],
            "price": float(5 * draw.integers(2, 40) - 0.1),
            "in_stock": bool(draw.random() < 0.8),
        }
        for place, (shelf, name) in enumerate(named, start=1)
    ]


def write_shop(folder: Path, users: int = 300) -> Path:
    """Write products and sales: a user keeps to one shelf, with now and then something of another one."""
    draw, items = np.random.default_rng(1), products()
    new = {name.removesuffix("*") for names in SHELVES.values() for name in names.split("|") if name.endswith("*")}
    known = [item for item in items if item["title"] not in new]
    rows = ["user_id,item_id,timestamp"]
    for user in range(1, users + 1):
        shelf = draw.choice(list(SHELVES))
        chances = np.array([12.0 if item["shelf"] == shelf else 0.4 for item in known])
        taken = draw.choice(len(known), 7, replace=False, p=chances / chances.sum())
        rows += [f"u{user},{known[one]['item_id']},{step}.5" for step, one in enumerate(taken)]
    folder.mkdir(parents=True)
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return folder


def trained(folder: Path) -> Path:
    """Return a run of UniSRec over what the products' titles say."""
    shop = folder / "shop.yaml"
    write_shop(folder / "shop")
    shop.write_text("interactions: shop/interactions.csv\nitems: shop/items.jsonl\ntext_fields: [title]\n", encoding="utf-8")
    words = ["train", str(shop), "--out", str(folder / "run"), "--epochs", "10", "--seed", "0"]
    if main([*words, *(word for setting in SETTINGS for word in ("--set", setting))]):
        raise SystemExit("the training failed")
    return folder / "run"


def items_of(*titles: str) -> str:
    """Return the address of a view with a history of these titles."""
    ids = {item["title"]: item["item_id"] for item in products()}
    return "#" + "&".join(f"item={ids[title]}" for title in titles)


def shoot(driver: Any, name: str) -> None:
    """Write what the window shows."""
    time.sleep(0.5)
    asked = {"format": "webp", "quality": 82, "captureBeyondViewport": False}
    picture = base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
    if len(picture) > LARGEST:
        raise SystemExit(f"{name}: {len(picture)} bytes are more than {LARGEST}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.webp").write_bytes(picture)


def show(driver: Any, service: Service, view: str, **how: Any) -> None:
    """Open a view and wait for its list."""
    driver.get("about:blank")
    open_page(driver, service.url + view, **how)
    while driver.find_element("id", "items").get_attribute("aria-busy") == "true":
        time.sleep(0.05)


def take_all(driver: Any, service: Service) -> None:
    """Take the four pictures."""
    hike = items_of("Trail running shoes", "Rain jacket, ultralight", "Two-person tent")
    show(driver, service, hike)
    shoot(driver, "light")
    show(driver, service, f"{hike}&filter=in_stock+and+price+%3C+120&at_most=2+brand", scheme="dark")
    driver.find_element("id", "query").send_keys("sho")
    time.sleep(0.5)
    driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    shoot(driver, "dark")
    show(driver, service, hike)
    driver.find_element("css selector", "#items .actions button").click()
    shoot(driver, "similar")
    show(driver, service, "", width=360)
    shoot(driver, "phone")
    emulate(driver, "light")


def run() -> None:
    """Make the shop, train, serve, take the pictures."""
    with tempfile.TemporaryDirectory() as place:
        service = Service(trained(Path(place) / "made"))
        driver = started_driver(Path(place) / "profile")
        try:
            take_all(driver, service)
        finally:
            driver.quit()
            service.stop()


if __name__ == "__main__":
    run()
