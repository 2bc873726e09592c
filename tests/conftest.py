"""What all tests share."""

import torch

# Small tensors gain nothing from a second thread, and the tests run beside other work.
torch.set_num_threads(1)
