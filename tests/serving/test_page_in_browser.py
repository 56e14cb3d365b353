"""The page of `xfer serve` in Chromium: what somebody sees who drops a picture there, and what it asks for."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")
pytest.importorskip("python_multipart", reason="python-multipart is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from service import BACKEND, MOST, Service

from xfer.metrics import probabilities
from xfer.multilabel import sigmoid
from xfer.serving.serve import Served

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not BROWSER or not DRIVER, reason="there is no Chromium with its chromedriver here")

WORDS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en")
PHONE = 360
DROP = """
const [name, content, kind] = arguments, given = new DataTransfer();
const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
given.items.add(new File([bytes], name));
const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: given})
                               : new DragEvent(kind, {dataTransfer: given, cancelable: true, bubbles: true});
return (kind === "paste" ? document : document.getElementById("drop")).dispatchEvent(event);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in (*WORDS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, service):
    """The page as it opens, which has said nothing to the console and asked nobody else when the test ends."""
    host, port = service.address
    address = f"http://{host}:{port}/"
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(address)
    WebDriverWait(browser, 10).until(lambda _: "ants & bées, bees" in text_of(browser, "#model"))
    yield browser
    asked = [json.loads(row["message"])["message"] for row in browser.get_log("performance")]
    urls = [row["params"]["request"]["url"] for row in asked if row["method"] == "Network.requestWillBeSent"]
    assert address in urls
    assert {url for url in urls if not url.startswith((address, "blob:" + address, "data:,"))} == set()
    refused = r"/predict - Failed to load resource: the server responded with a status of 400"  # the browser's own line
    assert [row for row in browser.get_log("browser") if not re.search(refused, row["message"])] == []


def text_of(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector).get_property("textContent").strip()


def figures(browser, count=1):
    """Of each picture on the page, when all are there: its name, its rows (class, percent), and what was wrong."""
    script = """return [...document.querySelectorAll("figure")].map(figure => [
        figure.querySelector("h2").textContent,
        [...figure.querySelectorAll("tr")].map(row => [...row.children].map(cell => cell.textContent)),
        figure.querySelector(".wrong")?.textContent ?? ""])"""

    def ready(_):
        found = browser.execute_script(script)
        return len(found) == count and all(rows or wrong for _, rows, wrong in found) and found

    return WebDriverWait(browser, 10).until(ready)


def wanted_of(run, file):
    found = run.predict(file, backend=BACKEND)
    pairs = sorted(zip(found.classes, found.probabilities[0], strict=True), key=lambda pair: -pair[1])
    return [[name, f"{100 * share:.1f} %"] for name, share in pairs]


def test_pictures_that_are_chosen_have_their_classes_in_order(page, run, files):
    page.find_element(By.ID, "files").send_keys("\n".join(map(str, files[:3])))
    found = figures(page, 3)
    assert [name for name, *_ in found] == [file.name for file in files[:3]]
    assert [rows for _, rows, _ in found] == [wanted_of(run, file) for file in files[:3]]
    assert [wrong for *_, wrong in found] == ["", "", ""]
    name, share = found[2][1][0]
    assert text_of(page, "#said") == f"{files[2].name}: {name}, {share}"


class Redness:
    """Of classes c0 to c6 one is the likelier the nearer its number is to how red a picture is."""

    whole = False
    shares = staticmethod(probabilities)

    def step(self, images):
        red = images[..., 0].reshape(len(images), -1).mean(axis=1, keepdims=True) / 40
        return -np.abs(red - np.arange(7)).astype(np.float32)


class Shades(Redness):
    """Of red, green and blue a picture has those of which it has much."""

    shares = staticmethod(sigmoid)

    def step(self, images):
        return (images.reshape(len(images), -1, 3).mean(axis=1) / 10 - 10).astype(np.float32)


def test_of_any_number_of_labels_those_above_their_threshold_are_told(browser, tmp_path):
    Image.new("RGB", (32, 32), (170, 0, 120)).save(tmp_path / "violet.png")
    Image.new("RGB", (32, 32), (10, 10, 10)).save(tmp_path / "night.png")
    service = Service(Served("shades", ("red", "green", "blue"), (), False, (0.5, 0.5, 0.5), Shades))
    try:
        browser.get("http://{}:{}/".format(*service.address))
        browser.find_element(By.ID, "files").send_keys(str(tmp_path / "violet.png"))
        ((_, rows, _),) = figures(browser)
        assert [name for name, _ in rows] == ["red", "blue", "green"]
        assert [row.text.split()[0] for row in browser.find_elements(By.CSS_SELECTOR, "tr.own")] == ["red", "blue"]
        assert text_of(browser, "#said") == "violet.png: red, 99.9 %; blue, 88.1 %"
        browser.find_element(By.ID, "files").send_keys(str(tmp_path / "night.png"))
        WebDriverWait(browser, 10).until(lambda page: text_of(page, "#said") == "night.png: no label")
        assert len(browser.find_elements(By.CSS_SELECTOR, "tr.own")) == 2
    finally:
        service.close()


def test_of_many_classes_the_likeliest_are_shown_and_a_key_shows_the_others(browser, tmp_path):
    Image.new("RGB", (32, 32), (170, 0, 0)).save(tmp_path / "red.png")
    service = Service(Served("redness", tuple(f"c{i}" for i in range(7)), (), False, None, Redness))
    try:
        browser.get("http://{}:{}/".format(*service.address))
        browser.find_element(By.ID, "files").send_keys(str(tmp_path / "red.png"))
        ((_, rows, _),) = figures(browser)
        assert [name for name, _ in rows] == ["c4", "c5", "c3", "c6", "c2", "c1", "c0"]
        shares = [float(share.removesuffix(" %")) for _, share in rows]
        assert sum(shares) == pytest.approx(100, abs=0.4)
        assert shares == sorted(shares, reverse=True)
        more, hidden = (browser.find_element(By.CSS_SELECTOR, part) for part in ("summary", "details table"))
        assert (more.text, hidden.is_displayed()) == ("2 more classes", False)
        browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB, Keys.TAB)
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        assert hidden.is_displayed()
    finally:
        service.close()


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_that_is_dropped_or_pasted_comes_first(page, run, files, kind):
    page.find_element(By.ID, "files").send_keys(str(files[0]))
    figures(page)
    page.execute_script(DROP, "new é.png", base64.b64encode(files[-1].read_bytes()).decode(), kind)
    (name, rows, _), (before, *_) = figures(page, 2)
    assert (name, before) == ("new é.png", files[0].name)
    assert rows == wanted_of(run, files[-1])


def test_the_place_shows_that_something_is_over_it(page):
    classes = [page.execute_script(DROP, "a", "", kind) or text_class(page) for kind in ("dragover", "dragleave")]
    assert classes == ["over", ""]


def text_class(page):
    return page.find_element(By.ID, "drop").get_attribute("class")


def test_what_is_no_picture_says_so_and_the_next_is_read(page, run, files, tmp_path):
    bad = tmp_path / "<b>notes & more.txt"
    bad.write_text("no picture")
    page.find_element(By.ID, "files").send_keys(f"{bad}\n{files[0]}")
    (name, rows, wrong), (_, good, _) = figures(page, 2)
    assert (name, rows, wrong) == (bad.name, [], "not an image")
    assert good == wanted_of(run, files[0])
    assert page.find_elements(By.CSS_SELECTOR, "figure b") == []


def test_what_is_too_large_is_not_sent(page, tmp_path):
    large = tmp_path / "large.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(large)
    assert large.stat().st_size > MOST
    page.find_element(By.ID, "files").send_keys(str(large))
    ((_, rows, wrong),) = figures(page)
    assert (rows, wrong) == ([], "larger than 0.2 MiB, the most that is taken here")
    assert "large.png: larger than" in text_of(page, "#said")
    sent = page.execute_script('return performance.getEntriesByType("resource").map(entry => entry.name)')
    assert [address.rpartition("/")[2] for address in sent if "blob:" not in address] == ["ready"]


def test_everything_can_be_done_from_the_keyboard(page):
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "files"
    outline = page.execute_script('return getComputedStyle(document.getElementById("drop")).outlineStyle')
    assert outline == "solid"


def test_it_is_said_to_those_who_do_not_see_it(page, files):
    page.find_element(By.ID, "files").send_keys(str(files[0]))
    ((_, rows, _),) = figures(page)
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    known = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    assert {
        ("main", ""),
        ("heading", "Which class is it?"),
        ("button", "Choose pictures, drop them here, or paste one"),
        ("region", "Pictures"),
        ("heading", files[0].name),
        *(("rowheader", name) for name, _ in rows),
        *(("cell", share) for _, share in rows),
    } <= known
    assert "status" in {role for role, _ in known}
    assert page.execute_script("return document.documentElement.lang") == "en"


def luminance(colour):
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    values = [float(value) / 255 for value in re.findall(r"[\d.]+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(page, scheme, tmp_path):
    (tmp_path / "bad.png").write_text("none")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.find_element(By.ID, "files").send_keys(str(tmp_path / "bad.png"))
    figures(page)
    colour = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    ground = luminance(page.execute_script(colour, "body", "backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("body", "#drop b", ".wrong"):
        low, high = sorted([ground, luminance(page.execute_script(colour, selector, "color"))])
        assert (high + 0.05) / (low + 0.05) >= 4.5, selector
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_on_a_phone_nothing_is_wider_than_the_screen(page, files):
    screen = {"width": PHONE, "height": 640, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    content = base64.b64encode(files[0].read_bytes()).decode()
    page.execute_script(DROP, "a-name-without-any-place-to-break-it-" * 5 + ".png", content, "drop")
    figures(page)
    assert page.execute_script("return document.documentElement.scrollWidth") == PHONE
    image, table = (page.find_element(By.CSS_SELECTOR, f"figure {tag}").rect for tag in ("img", "table"))
    assert table["width"] > 0.8 * PHONE
    assert table["y"] > image["y"] + image["height"], "one below the other"
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_service_that_has_gone_is_said(browser, run, files):
    service = Service(run.path)
    browser.get("http://{}:{}/".format(*service.address))
    WebDriverWait(browser, 10).until(lambda _: "ants" in text_of(browser, "#model"))
    service.close()
    browser.find_element(By.ID, "files").send_keys(str(files[0]))
    ((*_, wrong),) = figures(browser)
    assert wrong.startswith("the service does not answer")
