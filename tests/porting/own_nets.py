"""Classifiers as people write them, ported by test_port_torch.py alone: importing this needs torch."""

import torch
from torch import nn
from torch.nn import functional


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 2, 1)
        self.fc2 = nn.Conv2d(width // 2, width, 1)

    def forward(self, x):
        scale = functional.relu(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(scale))


class Branches(nn.Module):
    """Functional calls, two branches put together, a squeeze-excitation, and a layer that only training has used."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.narrow = nn.Conv2d(8, 8, 1)
        self.wide = nn.Conv2d(8, 8, 3, padding=1)
        self.se = Squeeze(16)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.auxiliary = nn.Linear(16, 7)
        self.fc = nn.Linear(16, classes, bias=False)
        torch.manual_seed(0)
        for tensor in self.parameters():
            nn.init.normal_(tensor, 0, 0.3)
        self.bn1.running_mean.normal_(0, 0.5)
        self.bn1.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = torch.cat([self.narrow(x), self.wide(x)], dim=1)
        x = functional.max_pool2d(self.se(x), 2)
        x = functional.relu(self.conv2(x))
        x = torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1)
        return self.fc(functional.dropout(x, 0.5, self.training))


class Wrapped(nn.Module):
    """All of its names begin with `model.`, as in a LightningModule; it takes pictures of one size alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 8, stride=8), nn.GELU(), nn.Flatten(), nn.Linear(4 * 16, 8), nn.Tanh(), nn.Linear(8, 3)
        )

    def forward(self, x):
        return self.model(x)


class Undecided(nn.Module):
    """Control flow that depends on the pictures."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        x = x.mean((2, 3))
        return self.fc(x) if x.sum() > 0 else -self.fc(x)


ready = Branches()


class Probabilities(nn.Module):
    """Ends with probabilities, as tutorials do."""

    def __init__(self, function=functional.softmax):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Linear(8, 3)
        self.function = function

    def forward(self, x):
        x = functional.leaky_relu(self.norm(self.conv(x)), 0.1)
        return self.function(self.fc(x.amax((2, 3))), dim=1)


def log_probabilities():
    return Probabilities(functional.log_softmax)
