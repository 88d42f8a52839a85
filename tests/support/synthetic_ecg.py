"""ECGs made of Gaussian waves at known times: what a beat finder must find."""

import numpy as np

RATE = 100


def recording(times, *, p_wave=True, f_wave=0.0, noise=0.0, seconds=10.0, seed=0):
    """(12, T) float32 mV with a QRS at each of `times` (s), a P wave 0.16 s before, a T wave 0.3 s after."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    leads = np.linspace(0.6, 1.2, 12)[:, None]
    signal = np.zeros((12, t.size))
    for at in times:
        signal += leads * 1.0 * np.exp(-(((t - at) / 0.018) ** 2))
        signal += leads * 0.25 * np.exp(-(((t - at - 0.3) / 0.06) ** 2))
        if p_wave:
            signal += leads * 0.12 * np.exp(-(((t - at + 0.16) / 0.03) ** 2))
    phase = np.cumsum(6.0 + random.normal(0, 0.6, t.size)) * 2 * np.pi / RATE
    signal += leads * f_wave * np.sin(phase)
    return (signal + noise * random.standard_normal(signal.shape)).astype(np.float32)


def sinus(**kind):
    """75 per minute, even but for breathing."""
    return recording(0.5 + 0.8 * np.arange(12) + 0.02 * np.sin(np.arange(12)), **kind)


def fibrillation(seed=0, **kind):
    """The same number of beats, intervals without order, f waves and no P wave."""
    intervals = np.random.default_rng(seed).uniform(0.5, 1.1, 11)
    return recording(0.5 + np.concatenate([[0.0], np.cumsum(intervals)]), p_wave=False, f_wave=0.06, **kind)
