"""Gradients summed over processes: each rank's sum in, the whole batch's out, the same bits on every rank.

What torch's DistributedDataParallel does, in a form that can be repeated to the bit: DDP lays its buckets out
anew after the first step it sees, so that with three processes or more (where the order of additions in a
ring depends on a number's place in its bucket) a resumed run would round otherwise than one that ran through.
Here the layout depends on the parameters alone. It also sums instead of averaging, which is what parts of one
batch need, and takes parameters that get no gradient (an unused pooler) as they come.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 32 << 20


def sum_gradients_(parameters: Iterable[nn.Parameter], extra: Tensor) -> None:
    """Replace each gradient, and `extra`, by its sum over the processes of the default group.

    Parameters without gradient have to be the same on every process. Small gradients travel together, in
    buckets of at most 32 MiB; a larger one travels alone, without a copy.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    works = []
    for bucket in _buckets([*gradients, extra]):
        if len(bucket) == 1:
            works.append((dist.all_reduce(bucket[0], async_op=True), bucket[0], bucket))
        else:
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            works.append((dist.all_reduce(flat, async_op=True), flat, bucket))
    for work, flat, bucket in works:
        work.wait()
        if len(bucket) > 1:
            parts = flat.split([tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bytes_here = tensor.numel() * tensor.element_size()
        if bytes_here >= BUCKET_BYTES:
            yield [tensor]
            continue
        if bucket and (size + bytes_here > BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += bytes_here
    if bucket:
        yield bucket
