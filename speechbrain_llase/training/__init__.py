"""Training and fine-tuning: token cache, items, batches, losses, the Brain.

May import augment, pretrained, inference and metrics, and what these may
import in turn.
"""
