"""One network evaluated, and the panel: numbers by direct computation, pictures that show them, input that fails."""

import warnings
from dataclasses import replace
from io import BytesIO

import pytest
import torch
from matplotlib import pyplot as plt

from experiments.pipeline import images_of
from experiments.profiles import unseen_tasks
from experiments.report.figures import style
from experiments.tasks.explore import confusion_table, evaluate
from experiments.tasks.explore_figure import SIZE, draw, png
from experiments.tasks.panel import Panel
from experiments.tasks.unseen import Unseen
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.tasks import all_tasks
from rpglib.tokenizer import ParameterTokenizer

ODD = [0, 1] * 5
PRIMES = [0, 0, 1, 1, 0, 1, 0, 1, 0, 0]


@pytest.fixture(scope="module")
def source():
    """An untrained generator, and random heads as those of all tasks; the first 200 tasks are unseen."""
    recipe = unseen_tasks("smoke")
    torch.manual_seed(0)
    networks = [recipe.architecture.build().state_dict() for _ in range(3)]
    model = RPG(recipe.model, ParameterTokenizer.fit(networks, recipe.model.token_size))
    # Far from its initial weights, so that tasks and seeds matter.
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    tasks = all_tasks()
    heads = {"bits": tasks, "unseen": torch.arange(200), "originals": torch.randn(len(tasks), 3, 50)}
    return Unseen(recipe, {}, model.eval(), heads)


@pytest.fixture(scope="module")
def found(source):
    return evaluate(source, ODD, 3)


def test_numbers_agree_with_a_direct_computation(source, found):
    recipe, test = source.recipe, images_of("digits").test
    (network,) = source.model.generate(1, ODD, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=3)
    module = recipe.architecture.build()
    module.load_state_dict(network)
    with torch.no_grad():
        says = module.eval()(test.images).argmax(1).tolist()
    truth = [ODD[label] for label in test.labels.tolist()]
    pairs = list(zip(truth, says, strict=True))
    assert found.answers.tolist() == says and found.wanted.tolist() == truth
    assert found.confusion.tolist() == [[pairs.count((t, s)) for s in (1, 0)] for t in (1, 0)]
    assert found.accuracy == pytest.approx(100 * sum(t == s for t, s in pairs) / len(pairs))
    assert found.head.equal(torch.cat((network["head.weight"].flatten(), network["head.bias"])))
    assert confusion_table(found).to_numpy().sum() == len(test)


def test_another_seed_or_task_is_another_network(source, found):
    assert evaluate(source, ODD, 3).head.equal(found.head)
    assert not evaluate(source, ODD, 4).head.equal(found.head)
    assert not evaluate(source, PRIMES, 3).head.equal(found.head)


def test_no_answer_is_a_wrong_answer(found):
    broken = replace(found, answers=torch.full_like(found.answers, -1))
    selected = int(found.wanted.sum())
    assert broken.accuracy == 0
    assert broken.confusion.tolist() == [[0, selected], [len(found.wanted) - selected, 0]]
    assert png(broken)


def test_nearest_originals_in_closed_form(source, found):
    """Each task's checkpoints lie along one axis, at its row's distance, twice and three times that."""
    tasks = source.heads["bits"]
    own = int((tasks == torch.tensor(ODD)).all(1).nonzero())
    distance = 1 + torch.randperm(len(tasks), generator=torch.Generator().manual_seed(0))
    offsets = distance[:, None] * torch.tensor([2, 1, 3])
    originals = (
        found.head + torch.nn.functional.one_hot(torch.arange(len(tasks)) % 50, 50)[:, None] * offsets[:, :, None]
    )
    near = evaluate(replace(source, heads=source.heads | {"originals": originals}), ODD, 3)
    order = distance.argsort()
    assert near.neighbours.equal(tasks[order[:3]])
    torch.testing.assert_close(near.distances, torch.tensor([1.0, 2.0, 3.0]).double(), atol=1e-4, rtol=0)
    assert near.neighbour_heads.equal(originals[order[:3], 1])
    assert near.own_rank == distance[own]
    assert near.own_place == f"the task's own are no. {near.own_rank} of 1,022"


@pytest.mark.parametrize("kind", ["seen", "unseen", "absent"])
def test_whether_the_generator_knows_the_task(source, kind):
    tasks = source.heads["bits"]
    kept = {
        "seen": source.heads | {"unseen": torch.arange(1)},
        "unseen": source.heads,
        "absent": source.heads
        | {"bits": tasks[:10], "originals": source.heads["originals"][:10], "unseen": torch.arange(1)},
    }[kind]
    result = evaluate(replace(source, heads=kept), tasks[100])
    assert result.seen == (kind == "seen")
    assert result.seen_tasks == {"seen": 1021, "unseen": 822, "absent": 9}[kind]
    assert result.status.startswith("seen task, one of" if kind == "seen" else "unseen task, none of")
    assert (result.own_rank is None) == (kind == "absent") == (result.own_place == "the task has no originals")


@pytest.mark.parametrize("task", [[0] * 10, [1] * 10, [1, 0], [2] + [0] * 9, "odd"])
def test_bad_tasks(source, task):
    with pytest.raises(InputError, match="task"):
        evaluate(source, task)


def test_the_picture_shows_wrong_answers_first_with_a_sign_of_their_own(found):
    # 25 wrong ones, the rest right: some of both are shown.
    wrong = torch.arange(100, 125)
    mixed = replace(found, answers=found.wanted.index_put((wrong,), 1 - found.wanted[wrong]))
    with style():
        figure = plt.figure(figsize=SIZE)
        draw(figure, mixed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                figure.savefig(BytesIO(), format="png", dpi=50)
    images = figure.axes[1]
    right = [i for i in range(len(mixed.wanted)) if i not in wrong][:15]
    labels, says = mixed.images.test.labels, ("out", "in")
    assert [text.get_text() for text in images.texts] == [
        *(f"{labels[i]} ✗ {says[1 - mixed.wanted[i]]}" for i in wrong),
        *(f"{labels[i]} ✓ {says[mixed.wanted[i]]}" for i in right),
    ]
    assert images.get_title("left").startswith("✗ 25 of 25 wrong, ✓ 15 of 335 right answers")
    assert [frame.get_linewidth() > 1 for frame in images.patches] == [True] * 25 + [False] * 15
    counts = [text.get_text() for text in figure.axes[0].texts]
    assert counts == [str(count) for count in mixed.confusion.flatten().tolist()]
    plt.close(figure)


def test_long_class_names_become_bits(found):
    long = replace(found, images=replace(found.images, class_names=tuple(f"vehicle {k}" for k in range(10))))
    assert found.name() == "1 3 5 7 9" and long.name() == "0101010101"
    assert long.name(torch.tensor([1] + [0] * 9)) == "vehicle 0"
    assert png(long, dpi=50)


# The panel, without a browser: what a front end sends is set as it sets it.


@pytest.fixture
def panel(source, monkeypatch):
    """A panel whose pictures are the task and the seed of what they would show: drawing takes half a second."""
    monkeypatch.setattr("experiments.tasks.panel.png", lambda found: picture(found.name(), found.seed))
    return Panel(source, "odd digits", seed=3)


def picture(name, seed):
    return f"{name}; {seed}".encode()


def chosen(panel):
    return [int(toggle.value) for toggle in panel.toggles]


def test_a_press_shows_the_picture(source, found):
    panel = Panel(source, "odd digits", seed=3)
    assert chosen(panel) == ODD and not panel.picture.value
    panel.button.click()
    assert panel.picture.value == png(found)


def test_every_press_writes_another_network(panel):
    for seed in (3, 4):
        panel.button.click()
        assert panel.picture.value == picture("1 3 5 7 9", seed)
        assert panel.message.value == f"Written, tested on 360 images and drawn in {panel.seconds:.1f} s."
    assert not panel.button.disabled


def test_a_sentence_sets_the_toggles_and_enter_presses(panel):
    panel.sentence.set_state({"value": "primes"})
    assert chosen(panel) == PRIMES and panel.sentence.value == "primes"
    panel.sentence.set_state({"value": "primes an"})
    assert chosen(panel) == PRIMES and not panel.message.value
    panel.sentence.set_state({"value": "primes and 4"})
    panel.sentence._handle_custom_msg({"event": "submit"}, [])
    assert panel.picture.value == picture("2 3 4 5 7", 3)


def test_a_toggle_clears_the_sentence_and_counts(panel):
    panel.toggles[1].set_state({"value": False})
    assert panel.sentence.value == ""
    panel.button.click()
    assert panel.picture.value == picture("3 5 7 9", 3)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("elephants", "unknown word &#x27;elephants&#x27;"),
        ("all digits", "selects every class"),
        ("primes <b>", "unknown word &#x27;&lt;&#x27;"),
        (None, "selects no class"),
    ],
)
def test_bad_input_ends_in_one_line_and_the_panel_goes_on(panel, sentence, words):
    panel.button.click()
    if sentence is None:
        for toggle in panel.toggles:
            toggle.set_state({"value": False})
    else:
        panel.sentence.set_state({"value": sentence})
    panel.button.click()
    assert (
        panel.message.value.startswith("⚠ Nothing written: ")
        and words in panel.message.value
        and "\n" not in panel.message.value
    )
    assert panel.picture.value == picture("1 3 5 7 9", 3) and not panel.button.disabled
    panel.sentence.set_state({"value": "primes"})
    panel.button.click()
    assert panel.message.value.startswith("Written") and panel.picture.value == picture("2 3 5 7", 4)


def test_a_bad_first_prompt_is_an_input_error(source):
    with pytest.raises(InputError, match="unknown word"):
        Panel(source, "elephants")


def test_without_a_front_end_a_line_of_text_is_left(panel):
    assert panel._repr_mimebundle_()["text/plain"] == repr(panel) and "JupyterLab" in repr(panel)
