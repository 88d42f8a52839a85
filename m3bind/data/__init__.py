"""The data: examples with labels and splits, captions, augmentation, caches. All of it from public sets."""
