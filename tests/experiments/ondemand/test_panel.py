"""Sliders: what one setting gives, by direct computation; what moving them writes; and all of it in a real browser."""

import json
import re
from dataclasses import asdict, replace

import pytest
import torch

from experiments.ondemand.family import CIRCUMSTANCES, background_of, taken
from experiments.ondemand.panel import MARKS, CircumstancesPanel, drawn
from experiments.ondemand.setting import OnDemand, at_hand
from experiments.ondemand.study import COMPANION, EXPERIMENT
from experiments.records import generator_dir, results_dir
from rpglib import RPG, ParameterTokenizer, RPGConfig
from rpglib.errors import InputError
from rpglib.runtime.randomness import stream
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import init_population
from rpglib.zoo.images import load_images

CNN = Architecture("cnn_digits", 10, 1, 8)
FIRST = {"angle": 20.0, "blur": 0.2, "noise": 0.1}


@pytest.fixture(scope="module")
def source():
    """An untrained generator, far from its initial weights, so that settings matter, and an untrained generalist."""
    start = init_population(CNN, [0, 1, 2])
    networks = [{name: x[k] for name, x in start.items()} for k in range(3)]
    config = RPGConfig(
        token_size=128, widths=(32,), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1), conditions=CIRCUMSTANCES
    )
    torch.manual_seed(0)
    model = RPG(config, ParameterTokenizer.fit(networks, config.token_size))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return OnDemand(model.eval(), networks[0], CNN, load_images("digits").test, seed=3)


def same(network, other):
    return network.keys() == other.keys() and all(x.equal(other[name]) for name, x in network.items())


def written(source, **setting):
    (network,) = source.model.generate(1, condition=setting, steps=1, seed=source.seed)
    return network


def test_a_setting_agrees_with_a_direct_computation(source):
    found, row = source.at(FIRST), torch.tensor([[20, 0.2, 0.1]])
    assert same(found.network, written(source, **FIRST)) and found.seconds > 0
    noise = torch.Generator().manual_seed(stream(3, "noise of the panel"))
    images = taken(source.test.images[None], row, background_of(source.test), noise)[0]
    torch.testing.assert_close(found.images, images)
    assert len(images) == 360
    for k, network in enumerate((source.generalist, found.network)):
        module = CNN.build()
        module.load_state_dict(network)
        with torch.no_grad():
            says = module.eval()(images).argmax(1)
        assert found.answers[k].equal(says)
        assert found.accuracies[k] == pytest.approx(100 * (says == source.test.labels).double().mean().item())


def test_the_noise_stays_when_something_else_moves(source):
    def noise(**setting):
        return source.at(FIRST | setting).images - source.at(FIRST | setting | {"noise": 0}).images

    torch.testing.assert_close(noise(noise=0.1), noise(noise=0.1, angle=-90, blur=0.7))
    torch.testing.assert_close(4 * noise(noise=0.1), noise(noise=0.4))
    assert noise(noise=0.1).std().item() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({}, "within what was trained"),
        ({"blur": 0.8}, "within what was trained"),
        ({"angle": 30}, "held out: nothing was trained at angles from 30° to 45°"),
        ({"angle": -100}, "held out: nothing was trained at angles from -110° to -95°"),
        (
            {"blur": 0.7, "noise": 0.4},
            "held out: nothing was trained with blur above 0.6 and noise above 0.35 together",
        ),
        ({"angle": 30, "blur": 0.7, "noise": 0.4}, "held out twice: by its angle, and by blur with noise"),
    ],
)
def test_what_is_held_out_is_named(source, setting, words):
    assert source.at(FIRST | setting).status == words
    assert words in CircumstancesPanel(source, FIRST | setting).message.value


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (FIRST | {"blur": 0.9}, "condition blur: 0.9 is outside of 0 to 0.8"),
        (FIRST | {"noise": float("nan")}, "no finite number"),
        ({"angle": 20}, "'blur' is missing"),
        (FIRST | {"zoom": 1}, "zoom"),
    ],
)
def test_settings_that_are_none(source, setting, words):
    with pytest.raises(InputError, match=words):
        source.at(setting)
    with pytest.raises(InputError, match=words):
        CircumstancesPanel(source, setting)


# The panel, without a browser: what a front end sends is set as it sets it.


@pytest.fixture
def panel(source):
    return CircumstancesPanel(source, FIRST)


def test_the_first_setting_is_shown(source, panel):
    assert {name: slider.value for name, slider in panel.sliders.items()} == FIRST
    assert panel.picture.value == drawn(source.at(FIRST))


@pytest.mark.parametrize(("name", "value"), [("angle", 90.0), ("blur", 0.65), ("noise", 0.3)])
def test_moving_a_slider_writes_the_network_for_that_row(source, panel, name, value):
    before = panel.picture.value
    panel.sliders[name].set_state({"value": value})
    row = FIRST | {name: value}
    torch.testing.assert_close(panel.found.row, torch.tensor(list(row.values())))
    assert same(panel.found.network, written(source, **row))
    assert not same(panel.found.network, written(source, **FIRST))
    assert panel.picture.value == drawn(panel.found) != before


def test_how_long_a_change_took_is_measured_and_shown(panel, monkeypatch):
    moments = iter((10.0, 10.002, 10.009, 10.05))  # change begins, writing begins, writing ends, change ends
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    panel.sliders["angle"].set_state({"value": 25.0})
    assert panel.seconds == pytest.approx(0.05) and panel.found.seconds == pytest.approx(0.007)
    assert panel.message.value.startswith("3,586 weights written in 7 ms; with the test of both networks on 360 images")
    assert "and the drawing 50 ms." in panel.message.value


def test_sliders_end_where_the_ranges_do(panel):
    for condition in CIRCUMSTANCES:
        slider = panel.sliders[condition.name]
        assert (slider.min, slider.max) == (condition.low, condition.high)
        slider.set_state({"value": 500.0})
        assert slider.value == condition.high
    torch.testing.assert_close(panel.found.row, torch.tensor([180, 0.8, 0.5]))


def test_wrong_answers_have_a_sign_of_their_own(source):
    found = source.at(FIRST)
    labels = found.labels.repeat(2, 1)
    labels[0, :3] = (labels[0, :3] + 1) % 10
    page = drawn(replace(found, answers=labels))
    # By sign and not by colour alone.
    assert page.count("✗") == 3 and page.count("✓") == 37 and MARKS[True] != MARKS[False]
    assert re.findall(r"✗ (\d)", page) == [str(x) for x in labels[0, :3].tolist()]
    assert re.findall(r"(\d+\.\d) %", page) == [f"{100 * 357 / 360:.1f}", "100.0"]
    assert page.count("<img") == 20


def test_without_a_front_end_a_line_of_text_is_left(panel):
    assert panel._repr_mimebundle_()["text/plain"] == repr(panel) and "JupyterLab" in repr(panel)


# What a notebook finds.


@pytest.fixture(scope="module")
def recorded(home, source):
    """The generator as `22_networks_on_demand` leaves it, and what is read of its record, whose path this is."""
    digest = source.model.save_pretrained(generator_dir("smoke", EXPERIMENT), {COMPANION: source.generalist})
    plan = {"images": "digits", "architecture": asdict(CNN)}
    record = {"config": {"plan": plan}, "seeds": {"zoo": 3}, "numbers": {}, "generator": digest}
    path = results_dir("smoke") / f"{EXPERIMENT}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    return path


def test_what_was_recorded_is_read(recorded, source):
    found, again = source.at(FIRST), at_hand("smoke", 3).at(FIRST)
    assert same(again.network, found.network) and again.answers.equal(found.answers)


@pytest.mark.parametrize(("profile", "seed"), [("cpu", 3), ("smoke", 4)])
def test_where_nothing_is_recorded_a_line_says_which_notebook_writes_it(recorded, capsys, profile, seed):
    assert at_hand(profile, seed) is None
    said = capsys.readouterr().out
    assert "notebook 22_networks_on_demand writes it" in said and said.count("\n") == 1
    assert f"seed {seed}" in said and f"profile {profile}" in said


def test_record_and_generator_of_two_runs(recorded):
    kept = recorded.read_text()
    recorded.write_text(json.dumps(json.loads(kept) | {"generator": "another"}))
    try:
        with pytest.raises(InputError, match="of two runs"):
            at_hand("smoke", 3)
    finally:
        recorded.write_text(kept)


CELL = f"""
from experiments.ondemand.panel import CircumstancesPanel
from experiments.ondemand.setting import at_hand
CircumstancesPanel(at_hand("smoke", 3), {FIRST})
"""


def test_in_a_browser(recorded, source):
    """A person drags a slider and types into another; the page shows what the network for that setting answers."""
    reason = "no browser is driven here: playwright or a Chromium is missing"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    browser = pytest.importorskip("browser")
    if browser.BROWSER is None:
        pytest.skip(reason)

    def shows(**setting):
        page = drawn(source.at(FIRST | setting))
        images = re.findall(r'src="([^"]*)"', page)
        playwright.expect(panel.locator("img").last).to_have_attribute("src", images[-1], timeout=wait)
        assert panel.locator("img").evaluate_all("images => images.map(image => image.src)") == images
        answers = r"[✓✗] \d|\d+\.\d %"
        assert re.findall(answers, panel.inner_text()) == re.findall(answers, page)

    def type_into(place, text):
        panel.locator(".widget-readout").nth(place).click()
        panel.page.keyboard.press("Control+A")
        panel.page.keyboard.type(text)
        panel.page.keyboard.press("Enter")

    wait = 1000 * browser.PATIENCE
    with browser.panel_in_browser(CELL) as panel:
        panel.get_by_text("3,586 weights written in").wait_for()
        shows()
        box, mouse = panel.locator(".noUi-handle").first.bounding_box(), panel.page.mouse
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + 80, y, steps=5)
        mouse.up()
        angle = float(panel.locator(".widget-readout").first.inner_text())
        assert angle >= 40
        shows(angle=angle)
        type_into(1, "500")
        shows(angle=angle, blur=0.8)
        type_into(2, "0.4")
        shows(angle=angle, blur=0.8, noise=0.4)
        panel.get_by_text("held out").wait_for()
