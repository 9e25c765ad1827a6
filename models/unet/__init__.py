"""The segmentation network: the residual U-Net of Son et al. 2021."""
