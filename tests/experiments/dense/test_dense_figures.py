"""The figure of scenes shows each once, names digits by colour and number, and its tables what is generated."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from experiments.dense import figures as dense_figures
from experiments.dense.tables import table_2
from experiments.report import figures


def test_a_scene_is_shown_once_and_digits_are_named():
    labels = np.zeros((8, 8), dtype=int)
    labels[:4], labels[7, 7] = 4, 9  # a large three, and a speck of an eight
    picture = {"labels": labels, "boxes": [[0, 0, 8, 4]]}
    row = {"image": np.zeros((8, 8)), "true": picture, "original": picture, "generated": picture}
    with figures.style():
        figure, axes = plt.subplots(1, 7, squeeze=False)
        dense_figures.sights(axes, {"segmentation": [row], "detection": [row]}, boxed=["detection"])
        figure.canvas.draw()
    assert [ax.get_title() for ax in axes[0]] == ["scene", *["true", "original", "generated"] * 2]
    headers = [text.get_text() for text in (*axes[0, 2].texts, *axes[0, 5].texts)]
    assert [word for word in headers if not word.isdigit()] == ["segmentation", "detection"]
    assert [text.get_text() for text in axes[0, 1].texts] == ["3"], "specks bear no number"
    assert [len(ax.patches) for ax in axes[0]] == [0, 0, 0, 0, 1, 1, 1]
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == list("0123456789")
    assert to_hex(key.get_patches()[3].get_facecolor()) == to_hex(dense_figures.LABELS(4))
    plt.close(figure)


def test_table_2_names_the_columns_of_generated_networks():
    metrics = {"mIoU": {"mean": 63.0, "max": 64.0, "min": 62.0, "std": 0.5}}
    groups = {name: {"metrics": metrics} for name in ("originals", "generated")}
    table = table_2({"segmentation": {"numbers": {"populations": {"one run": {"groups": groups}}}}})
    assert table.columns.tolist() == [("original", "mean"), *(("generated", x) for x in ("best", "mean", "min", "std"))]
