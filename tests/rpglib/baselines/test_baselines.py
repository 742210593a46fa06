"""Baselines against closed forms: what ridge shrinks and what it cannot see, and the others by hand."""

import itertools

import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, GroupKFold

from rpglib.baselines.kernel_ridge import FOLDS, GRID, kernel_ridge, kernel_ridge_for_conditions
from rpglib.baselines.tasks import PENALTIES, majority_class, mean_network, nearest_task, ridge
from rpglib.errors import InputError
from rpglib.tasks import all_tasks, split_tasks
from rpglib.tasks.conditions import Condition, random_conditions

BITS = 6
# With none and all, products of different bits are orthogonal over the tasks: ridge's coefficients are those of least
# squares times S / (S + penalty).
EVERY = torch.tensor(list(itertools.product((0, 1), repeat=BITS)))
SHRINKAGE = len(EVERY) / (len(EVERY) + min(PENALTIES))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def signs(tasks):
    return 2 * tasks.double() - 1


def pairs(tasks):
    x = signs(tasks)
    return torch.stack([x[:, i] * x[:, j] for i, j in itertools.combinations(range(BITS), 2)], 1)


@pytest.mark.parametrize("order", [1, 2])
def test_ridge_recovers_a_map_that_is_linear_in_the_bits(order):
    offset, slopes = random(5), random(BITS, 5, seed=1)
    found = ridge(EVERY, offset + signs(EVERY) @ slopes, EVERY, order)
    torch.testing.assert_close(found, offset + SHRINKAGE * signs(EVERY) @ slopes)


def test_ridge_recovers_products_of_two_bits_by_order_two_alone():
    offset, products = random(5), random(15, 5, seed=1)
    weights = offset + pairs(EVERY) @ products
    torch.testing.assert_close(ridge(EVERY, weights, EVERY, order=2), offset + SHRINKAGE * pairs(EVERY) @ products)
    torch.testing.assert_close(ridge(EVERY, weights, EVERY, order=1), offset.expand(len(EVERY), -1))


def test_ridge_extends_to_tasks_that_it_has_not_seen():
    tasks, slopes = all_tasks(BITS), random(BITS, 5)
    weights = signs(tasks) @ slopes
    seen, unseen = split_tasks(len(tasks), seed=0)
    found = ridge(tasks[seen], weights[seen], tasks[unseen])
    assert (found - weights[unseen]).abs().max() < 0.02 * weights.abs().max()


def test_ridge_shrinks_noise_by_the_largest_penalty():
    found = ridge(EVERY, random(len(EVERY), 300), EVERY)
    assert found.std(0).mean() < 0.1, "the noise's own deviation is 1"


def test_ridge_gives_all_but_the_chosen_columns_their_mean():
    weights = random(5) + signs(EVERY) @ random(BITS, 5, seed=1)
    columns = torch.tensor([False, True, False, True, True])
    asked = EVERY[:7]
    found = ridge(EVERY, weights, asked, columns=columns)
    torch.testing.assert_close(found[:, columns], ridge(EVERY, weights[:, columns], asked))
    torch.testing.assert_close(found[:, ~columns], weights.mean(0)[~columns].expand(7, -1))


@pytest.mark.parametrize("columns", [None, torch.tensor([True])])
def test_ridge_predicts_a_single_weight_in_the_weights_own_precision(columns):
    found = ridge(EVERY, signs(EVERY)[:, :1].float(), EVERY[:3], columns=columns)
    assert found.shape == (3, 1) and found.dtype == torch.float32


def test_kernel_ridge_finds_what_products_of_pairs_cannot():
    """A product of three bits, on tasks that it has not seen."""
    tasks, slopes = all_tasks(8), random(2, 4)
    x = signs(tasks)
    weights = torch.stack((x[:, 0] * x[:, 1] * x[:, 2], x[:, 3]), 1) @ slopes + 5
    seen, unseen = split_tasks(len(tasks), seed=0)

    def error(method, **options):
        return (method(tasks[seen], weights[seen], tasks[unseen], **options) - weights[unseen]).abs().mean()

    assert error(kernel_ridge) < 0.1 * weights.std() < error(ridge, order=2)


def test_kernel_ridge_for_conditions_finds_a_smooth_map_and_angles_come_round():
    conditions = (Condition("angle", -180, 180, "angle"), Condition("blur", 0, 2))
    generator = torch.Generator().manual_seed(0)
    seen, asked = (random_conditions(conditions, n, generator) for n in (200, 50))
    slopes = random(3, 4)

    def weights(rows):
        turn, blur = torch.deg2rad(rows[:, 0]), rows[:, 1]
        return 5 + torch.stack((turn.sin(), turn.cos() * blur, blur.square()), 1) @ slopes

    found = kernel_ridge_for_conditions(conditions, seen, weights(seen), asked)
    assert (found - weights(asked)).abs().mean() < 0.05 * weights(asked).std()
    edge = torch.tensor([[-180.0, 1.0], [180.0, 1.0]])
    one, other = kernel_ridge_for_conditions(conditions, seen, weights(seen), edge)
    torch.testing.assert_close(one, other)
    with pytest.raises(InputError, match="give at least two"):
        kernel_ridge_for_conditions(conditions, seen[:1], weights(seen[:1]), asked)


def test_kernel_ridge_of_noise_is_nearly_its_mean():
    tasks = all_tasks(BITS)
    noise = 3 + random(len(tasks), 40).float()
    found = kernel_ridge(tasks, noise, tasks[:5])
    assert found.shape == (5, 40) and found.dtype == torch.float32
    seen, unseen = split_tasks(len(tasks), seed=0)
    off = kernel_ridge(tasks[seen], noise[seen], tasks[unseen]) - noise[seen].mean(0)
    assert off.std() < 0.7 * noise.std(0).mean()


def test_the_folds_of_kernel_ridge_hold_opposites_together(monkeypatch):
    import sklearn.model_selection

    held = []

    class Folds(sklearn.model_selection.GroupKFold):
        def split(self, x, y=None, groups=None):
            for train, test in super().split(x, y, groups):
                held.append((x[train], x[test]))
                yield train, test

    monkeypatch.setattr(sklearn.model_selection, "GroupKFold", Folds)
    tasks = all_tasks(4)
    kernel_ridge(tasks, random(len(tasks), 3), tasks)
    assert len(held) == 5
    for train, test in held:
        assert not {tuple(row) for row in train.tolist()} & {tuple(row) for row in (-test).tolist()}


def test_tasks_may_have_more_bits_than_a_number():
    seen = torch.eye(100, dtype=torch.int64)[:8]
    assert kernel_ridge(seen, random(8, 3), seen[:2]).isfinite().all()
    with pytest.raises(InputError, match="two that are no opposites"):
        kernel_ridge(torch.stack((seen[0], 1 - seen[0])), random(2, 3), seen[:1])


def test_nearest_task_by_hand_and_of_several_the_first():
    seen = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0]])
    weights = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    asked = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]])
    assert nearest_task(seen, weights, asked)[:, 0].tolist() == [1, 2, 1, 1, 3]
    assert nearest_task(seen, weights, seen).equal(weights)


def test_nearest_task_follows_the_definition_on_all_tasks():
    tasks = all_tasks(7)
    seen, asked = tasks[::3], tasks[1::3]
    rows = nearest_task(seen, torch.arange(len(seen))[:, None], asked)[:, 0]
    distances = [[sum(a != b for a, b in zip(x, y, strict=True)) for y in seen.tolist()] for x in asked.tolist()]
    assert rows.tolist() == [row.index(min(row)) for row in distances]


def test_mean_network_is_the_same_for_every_task():
    weights = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert mean_network(all_tasks(2), weights, all_tasks(3)).tolist() == [[2, 4]] * 6


def test_majority_class_counts_images_not_classes():
    tasks = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1]])
    assert majority_class(tasks, torch.tensor([10, 10, 10])).tolist() == [0, 1, 0, 1]
    assert majority_class(tasks, torch.tensor([100, 10, 10])).tolist() == [1, 0, 0, 1]
    assert majority_class(tasks, torch.tensor([20, 10, 10])).tolist() == [0, 0, 0, 1], "half is no majority"


def test_kernel_ridge_is_the_best_of_its_grid_fitted_to_all():
    seen, tasks = all_tasks(5)[:20], all_tasks(5)[20:]
    # A function of pairs of bits, beside which a Gaussian kernel is too smooth, with noise that wants some penalty.
    features = torch.stack([signs(seen)[:, 0] * signs(seen)[:, 1], signs(seen)[:, 2], signs(seen)[:, 3]], 1)
    weights = features @ random(3, 6) + 0.1 * random(20, 6, seed=1) + 3
    numbers = [int("".join(map(str, task.flip(0).tolist())), 2) for task in seen]
    pairs = [min(number, 31 - number) for number in numbers]
    search = GridSearchCV(KernelRidge(), GRID, scoring="neg_mean_squared_error", cv=GroupKFold(FOLDS))
    mean = weights.mean(0)
    search.fit(2 * seen - 1, (weights - mean).double(), groups=pairs)
    expected = mean + torch.from_numpy(search.predict(2 * tasks - 1))
    torch.testing.assert_close(kernel_ridge(seen, weights, tasks).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_ridge_takes_weights_of_any_float_type(dtype):
    seen, tasks = all_tasks(4)[:10], all_tasks(4)[10:]
    weights = random(10, 3)
    found = ridge(seen, weights.to(dtype), tasks)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), ridge(seen, weights.to(dtype).float(), tasks), rtol=2e-2, atol=2e-2)
