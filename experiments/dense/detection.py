"""Detection and instance segmentation: torchvision's Mask R-CNN on ViTDet's backbone."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from experiments.dense.kinds import Measured, Scenes, Source, batches
from experiments.dense.scenes import check
from experiments.dense.vitdet import SimpleFeaturePyramid, ViTConfig
from experiments.extras import DENSE

FOUND = 0.5
"""An object is found by a box of its class with at least this score and this IoU."""


@dataclass(frozen=True)
class Detector:
    """Mask R-CNN of these sizes.

    classes: without the ground. anchor: side of the anchors in strides; ratios: height to width. proposals, samples:
    of an image, in training; most: objects that are answered. roi, mask: places along a side of what the heads see;
    hidden: width of the box head, convolutions: of the mask head. mean, deviation: of the pixels of each channel.
    """

    main: str = "box mAP"
    backbone: ViTConfig = field(default_factory=ViTConfig)
    classes: int = 10
    anchor: float = 3.0
    ratios: tuple[float, ...] = (0.75, 1.5)
    proposals: int = 60
    samples: int = 32
    most: int = 12
    roi: int = 5
    mask: int = 7
    hidden: int = 96
    convolutions: int = 2
    mean: tuple[float, ...] = (0.2,)
    deviation: tuple[float, ...] = (0.25,)
    batch: int = 25

    def build(self) -> nn.Module:
        """A new network; its weights come from torch's current random state."""
        # Slow to import, and not needed where a record is read.
        from torchvision.models import detection
        from torchvision.ops import MultiScaleRoIAlign

        backbone, out = SimpleFeaturePyramid(self.backbone), self.backbone.out
        names, size, answers = list(backbone.names), self.backbone.size, self.classes + 1
        heads = detection.mask_rcnn
        return detection.MaskRCNN(
            backbone,
            min_size=size,
            max_size=size,
            image_mean=list(self.mean),
            image_std=list(self.deviation),
            rpn_anchor_generator=detection.rpn.AnchorGenerator(
                tuple((round(self.anchor * stride),) for stride in self.backbone.strides),
                (self.ratios,) * len(self.backbone.strides),
            ),
            rpn_pre_nms_top_n_train=4 * self.proposals,
            rpn_pre_nms_top_n_test=2 * self.proposals,
            rpn_post_nms_top_n_train=self.proposals,
            rpn_post_nms_top_n_test=self.proposals,
            rpn_batch_size_per_image=2 * self.samples,
            box_batch_size_per_image=self.samples,
            box_detections_per_img=self.most,
            box_roi_pool=MultiScaleRoIAlign(names, self.roi, 2),
            box_head=detection.faster_rcnn.TwoMLPHead(out * self.roi**2, self.hidden),
            box_predictor=detection.faster_rcnn.FastRCNNPredictor(self.hidden, answers),
            mask_roi_pool=MultiScaleRoIAlign(names, self.mask, 2),
            mask_head=heads.MaskRCNNHeads(out, (out,) * self.convolutions, 1),
            mask_predictor=heads.MaskRCNNPredictor(out, out, answers),
        )

    def loss(self, model: nn.Module, taught: Scenes) -> Tensor:
        """The sum of Mask R-CNN's five losses on these scenes; raises `InputError` for those that teach nothing."""
        check(taught.objects, tuple(taught.images.shape[2:]))
        device = _device(model)
        told = [{key: x.to(device) for key, x in found.items()} for found in taught.objects]
        return sum(model(list(taught.images.to(device)), told).values())

    @torch.no_grad()
    def answered(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """By image, boxes (k, 4), labels (k,), scores (k,) and masks (k, H, W) bool of what it sees."""
        model.eval()
        answers = [{k: x.cpu() for k, x in one.items()} for one in model(list(images.to(_device(model))))]
        return [one | {"masks": one["masks"][:, 0] > 0.5} for one in answers]

    def measure(self, model: nn.Module, asked: Source) -> Measured:
        """Box and mask mAP (COCO's, over IoU 0.5 to 0.95); wrong are objects that are not found."""
        metric, wrong = precision(), []
        for part in batches(asked, self.batch):
            found = self.answered(model, part.images)
            metric.update(found, part.objects)
            wrong.append(missed(found, part.objects))
        return Measured(percent(metric), torch.cat(wrong))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def precision():
    """COCO's mean average precision of boxes and of masks, by torchmetrics; `update` takes answers and objects."""
    metric = DENSE.package("torchmetrics.detection").MeanAveragePrecision(
        iou_type=("bbox", "segm"), backend="faster_coco_eval"
    )
    metric.warn_on_many_detections = False
    return metric


def percent(metric) -> dict[str, float]:
    """What such a metric found, in percent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers = metric.compute()
    # -1 where there is nothing to be found.
    return {
        name: 100 * max(0.0, numbers[key].item())
        for name, key in (("box mAP", "bbox_map"), ("mask mAP", "segm_map"), ("box AP50", "bbox_map_50"))
    }


def missed(found: Sequence[Mapping[str, Tensor]], objects: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Of all objects of all images, in order, which are not found (E,) bool."""
    from torchvision.ops import box_iou

    rows = []
    for seen, there in zip(found, objects, strict=True):
        near = box_iou(there["boxes"], seen["boxes"]) >= FOUND
        alike = there["labels"][:, None] == seen["labels"][None, :]
        rows.append(~(near & alike & (seen["scores"] >= FOUND)).any(1))
    return torch.cat(rows)
