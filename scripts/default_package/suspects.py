"""What does a first look suspect in a bank's fields, and what is it truly? As ``second_training.suspects`` finds it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from detection.decoding import LARGEST_LOG_SIZE, STRIDE_PX
from detection.evaluation import SAME_CELL_IOU
from detection.targets import IGNORED_LABEL
from scripts.default_package.bank import Bank
from scripts.default_package.stream import SIDE_PX
from scripts.make_training_set import LABELS

MOST_FOUND = 96
AT_ONCE = 48


@dataclass(frozen=True, slots=True)
class Suspected:
    """Places to look at twice: (n,) field, (n, 2) middle px, (n,) label, (n, 4) box px, (n,) suspicion."""

    field: Tensor
    centre: Tensor
    label: Tensor
    box: Tensor
    suspicion: Tensor

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def joined(cls, parts: "Sequence[Suspected]") -> "Suspected":
        """Those of all parts."""
        each = zip(*((p.field, p.centre, p.label, p.box, p.suspicion) for p in parts), strict=True)
        return cls(*(torch.cat(column) for column in each))


@torch.inference_mode()
def suspected(
    network: nn.Module, bank: Bank, fields: range, abnormal: Tensor, floors: tuple[float, float]
) -> Suspected:
    """Of some fields; ``floors`` are the least objectness and the least P(abnormal) of what is found."""
    network.eval()
    parts = []
    for start in range(fields.start, fields.stop, AT_ONCE):
        index = torch.arange(start, min(start + AT_ONCE, fields.stop), device=bank.device)
        boxes, chance = _found(network(bank.density(index)).float(), abnormal, floors)
        parts.append(_owned((boxes, chance), bank, index, abnormal, len(LABELS)))
    network.train()
    return Suspected.joined(parts)


def _found(maps: Tensor, abnormal: Tensor, floors: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """(b, 96, 4) boxes px and (b, 96) P(abnormal), 0 where there is none."""
    objectness = torch.sigmoid(maps[:, :1])
    peak = (objectness >= functional.max_pool2d(objectness, 3, 1, 1)) & (objectness >= floors[0])
    raw = objectness[:, 0] * torch.softmax(maps[:, 5:], 1)[:, abnormal].sum(1)
    raw = torch.where(peak[:, 0] & (raw >= floors[1]), raw, 0)
    chance, at = raw.flatten(1).topk(MOST_FOUND, 1)
    said = maps[:, 1:5].flatten(2).gather(2, at[:, None].expand(-1, 4, -1)).transpose(1, 2)
    side = maps.shape[-1]
    place = torch.stack([at % side, at // side], -1) + 0.5
    middle = (place + said[..., :2].clamp(-1.5, 1.5)) * STRIDE_PX
    size = torch.exp(said[..., 2:].clamp(-2.0, LARGEST_LOG_SIZE)) * STRIDE_PX
    inside = ((middle >= 0) & (middle < SIDE_PX)).all(-1)
    return torch.cat([middle - size / 2, size], -1), torch.where(inside, chance, 0)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """(b, m, k) intersection over union of (b, m, 4) and (b, k, 4)."""
    a, b = boxes[:, :, None], others[:, None]
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared).clamp(min=1e-9)


def _owned(
    found: tuple[Tensor, Tensor], bank: Bank, index: Tensor, abnormal: Tensor, classes: int
) -> Suspected:
    """What is found in the fields ``index``, as boxes and chances, and the cells that are not."""
    (boxes, chance), cells, labels = found, bank.boxes[index], bank.labels[index]
    there = labels != IGNORED_LABEL
    overlap = overlaps(boxes, cells) * there[:, None]
    most, nearest = overlap.max(2)
    middle = boxes[..., :2] + boxes[..., 2:] / 2
    low, high = cells[:, None, :, :2], cells[:, None, :, :2] + cells[:, None, :, 2:]
    within = ((middle[:, :, None] >= low) & (middle[:, :, None] <= high)).all(-1)
    within &= (there & torch.isin(labels, abnormal))[:, None]
    own = torch.where(most >= SAME_CELL_IOU, nearest, -1)
    own = torch.where((own < 0) & within.any(2), within.int().argmax(2), own)
    asked = chance > 0
    field = index[:, None].expand_as(own)
    safe = own.clamp(min=0)
    hit = own >= 0
    label = torch.where(hit, labels.gather(1, safe), classes)
    box = torch.where(hit[..., None], cells.gather(1, safe[..., None].expand(-1, -1, 4)), boxes)
    claimed = torch.zeros_like(there, dtype=torch.long).scatter_add_(1, safe, (hit & asked).long()) > 0
    unseen = there & ~claimed
    return Suspected(
        torch.cat([field[asked], index[:, None].expand_as(there)[unseen]]),
        torch.cat([middle[asked], (cells[..., :2] + cells[..., 2:] / 2)[unseen]]),
        torch.cat([label[asked], labels[unseen]]),
        torch.cat([box[asked], cells[unseen]]),
        torch.cat([chance[asked], torch.zeros(int(unseen.sum()), device=chance.device)]),
    )
