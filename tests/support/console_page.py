"""The console's page in a browser: what it shows, its forms, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from eventually import eventually

AXE = Path(__file__).resolve().parents[1] / "e2e/node_modules/axe-core/axe.min.js"
SIZES = {"desktop": (1280, 900), "telephone": (390, 844)}


class ConsolePage:
    """A browser that shows the page of some gateway."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser

    @property
    def text(self) -> str:
        """The text of the page."""
        return str(self.browser.find_element(By.TAG_NAME, "body").text)

    def shows(self, *texts: str) -> None:
        """Wait until the page has these texts."""
        eventually(
            lambda: all(text in self.text for text in texts), lambda: f"wanted {texts}, the page has:\n{self.text}"
        )

    def look(self, size: str, scheme: str) -> None:
        """Choose the size of the window and the color scheme."""
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def faults(self) -> list[Any]:
        """Return what axe-core finds, and the width of a page that is wider than the window."""
        self.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
        found = self.browser.execute_async_script("axe.run().then((result) => arguments[0](result.violations))")
        width, wanted = self.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] + [width] * (width > wanted)

    def severe(self) -> list[Any]:
        """Return the errors in the log of the browser, violations of the policy among them; they are shown once."""
        return [each for each in self.browser.get_log("browser") if each["level"] == "SEVERE"]

    def link(self, text: str) -> Any:
        """Return the first link with this text."""
        return self.browser.find_element(By.XPATH, f"//a[contains(., '{text}')]")

    def button(self, text: str) -> Any:
        """Return the first button with this text."""
        return self.browser.find_element(By.XPATH, f"//button[contains(., '{text}')]")

    def fill(self, label: str, text: str, section: str = "") -> None:
        """Replace the text of the field with this label; in the section with this label, if it has one."""
        within = f"//section[@aria-labelledby='{section}']" if section else ""
        field = self.browser.find_element(
            By.XPATH, f"{within}//label[contains(., '{label}')]//*[self::input or self::textarea]"
        )
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)
