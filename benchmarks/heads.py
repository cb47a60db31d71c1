"""Does a head on the model's untrained states reach what a regression finds?

General Social Survey 2018, 18 spending items, the embedded model as it comes. A head is fitted on
top of the training shares, or of a regression's probabilities, to as many respondents as give so
many answers; 100 others choose its penalty, and 150 whom nothing has seen are the test. Three draws
of training respondents. A second part leaves items out, two at a time, and starts from the pooled
shares of the others: new people and new items.

Differences are paired, answer by answer, with intervals over respondents: the head less what it
started from. States are computed once (half an hour on two cores) and lie under runs/heads, in
half precision.

    python benchmarks/heads.py [--sizes 500 2000 6500] [--quick]. Writes benchmarks/heads.json."""
import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm
from options import Options

from alignsurvey.all import Survey, baseline_predictions, fit_head, load_model, option_states
from alignsurvey.all import with_offsets
from alignsurvey.cli.demo import DEMOS, demo_records
from alignsurvey.evaluation.stacking import as_predictions
