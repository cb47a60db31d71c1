"Scores of texts: against other implementations and plain loops, on any input, at the size of a run, and on published answers."
import json, os, random, subprocess, sys, time
from collections import Counter
import jieba, numpy as np, pandas as pd, pytest
from hypothesis import example, given, settings, strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF
from scipy.spatial.distance import cosine as cosine_distance
from sklearn.metrics import jaccard_score

from alignsurvey.metrics import texts as t

N, TOL = 1000, 1e-9
PAIRWISE = {k: f for k, f in t.SCORES.items() if k != 'length_ratio'}
ENGLISH = "the bus is late and full so i take my car to work it's cheap don't ask why 2 times a day never again".split()
CLAUSES = ['公交车一天只来两趟', '孩子上学的路很远', '看病要等三个小时', '我们家的房子是去年买的', '工资这几年没怎么涨', '邻居们都愿意帮忙', '菜价比以前贵了',
    '退休以后时间多了', '村里修了新路', '年轻人大多出去打工', '医保报销比以前方便', '学区房还是太贵', '公园里每天都有人跳舞', '快递能送到家门口', '物业收费不透明',
    '社区医院缺医生']


@pytest.fixture
def rng(): return random.Random(20260101)


def english(rng): return ' '.join(rng.choices(ENGLISH, k=rng.randint(0, 12))) + rng.choice(['', '.', '!', ' …'])
def chinese(rng): return '，'.join(rng.choices(CLAUSES, k=rng.randint(0, 4))) + rng.choice(['', '。', '！'])
def either(rng): return rng.choice([english, chinese, lambda r: english(r) + chinese(r)])(rng)


# against other implementations

def test_rouge_l_of_english_is_rouge_scores_own(rng):
    scorer = RougeScorer(['rougeL'])
    for _ in range(N):
        a, b = english(rng), english(rng)
        if t.words(a) and t.words(b): assert abs(t.rouge_l(a, b) - scorer.score(b, a)['rougeL'].fmeasure) < TOL


def test_rouge_l_is_the_longest_common_subsequence(rng):
    def longest(a, b):
        best = [[0]*(len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b): best[i + 1][j + 1] = best[i][j] + 1 if x == y else max(best[i][j + 1], best[i + 1][j])
        return best[-1][-1]
    for _ in range(N):
        a, b = either(rng), either(rng)
        m, n = len(t.words(a)), len(t.words(b))
        if m and n: assert abs(t.rouge_l(a, b) - 2*longest(t.words(a), t.words(b))/(m + n)) < TOL


def test_chrf_is_sacrebleus_and_the_textbooks(rng):
    def textbook(candidate, reference, beta=2):
        precision, recall = [], []
        a, b = (''.join(x.split()) for x in (candidate, reference))
        for n in range(1, 7):
            x, y = (Counter(s[i:i + n] for i in range(len(s) - n + 1)) for s in (a, b))
            if x and y:
                hits = sum((x & y).values())
                precision.append(hits/sum(x.values())); recall.append(hits/sum(y.values()))
        p, r = (np.mean(v) if v else 0 for v in (precision, recall))
        return (1 + beta**2)*p*r/(beta**2*p + r) if p + r else 0
    for _ in range(N):
        a, b = either(rng), either(rng)
        if not a.split() or not b.split(): continue
        assert abs(t.chrf(a, b) - textbook(a, b)) < TOL
        if a != b: assert abs(t.chrf(a, b) - CHRF().sentence_score(a, [b]).score/100) < TOL


def test_reason_scores_are_scipys_and_sklearns(rng):
    for _ in range(N):
        a, b = either(rng), either(rng)
        x, y = Counter(t.words(a)), Counter(t.words(b))
        if not x or not y: continue
        every = sorted(x | y)
        u, v = ([c[w] for w in every] for c in (x, y))
        assert abs(t.cosine(a, b) - (1 - cosine_distance(u, v))) < TOL
        assert abs(t.jaccard(a, b) - jaccard_score(np.array(u) > 0, np.array(v) > 0)) < TOL
        assert abs(t.overlap_coefficient(a, b) - np.minimum(np.sign(u), np.sign(v)).sum()/min(len(x), len(y))) < TOL


# on any input

mixed = st.text(st.one_of(st.characters(), st.sampled_from('公交车一天只来两趟开车我不 ，。aB1 .!')), max_size=40)


@given(mixed, mixed)
@example('开', '开')
@example('', '…')
@example('ﬃ', 'FFI')
@settings(max_examples=500, deadline=None, derandomize=True)
def test_scores_keep_their_promises(a, b):
    "Bounded, 1 on itself in any script, symmetric but for chrF's recall, and blind to case where words count."
    for name, f in PAIRWISE.items():
        assert 0 <= f(a, b) <= 1, name
        assert abs(f(a, a) - 1) < TOL, name
        if name != 'chrf':
            assert abs(f(a, b) - f(b, a)) < TOL, name
            assert abs(f(a.upper(), a.upper().casefold()) - 1) < TOL, name
    n = len(t.words(b))
    assert np.isnan(t.length_ratio(a, b)) if n == 0 else t.length_ratio(a, b) == len(t.words(a))/n
    assert t.jaccard(a, b) <= t.overlap_coefficient(a, b) + TOL


def test_distinct_n_counts(rng):
    for _ in range(100):
        many, n = [either(rng) for _ in range(6)], rng.randint(1, 3)
        grams = [tuple(w[i:i + n]) for w in map(t.words, many) for i in range(len(w) - n + 1)]
        got = t.distinct_n([*many, None, float('nan')], n)
        assert np.isnan(got) if not grams else abs(got - len(set(grams))/len(grams)) < TOL
        if grams: assert t.distinct_n(many*2, n) <= got


def test_a_failed_reply_is_a_gap_and_nothing_else():
    frame = pd.DataFrame(dict(said=['公交车慢', 'bus', 'bus', '', 'bus'], reason=['公交车慢', None, float('nan'), 'x', '']))
    scores = t.text_scores(frame.said, frame.reason)
    assert scores.isna().all(axis=1).tolist() == [False, True, True, False, True]
    assert scores.loc[0].tolist() == [1]*6 and scores.loc[3].tolist() == [0]*6
    assert t.text_scores([], []).shape == (0, 6)


@pytest.mark.parametrize('call, message', [
    (lambda: t.words(3), '^3 is no text: leave failed replies out'),
    (lambda: t.text_scores([3], ['x']), '^3 is no text'),
    (lambda: t.text_scores(['x'], ['x'], ['rouge']), r"^there is no score 'rouge': use some of chrf, rouge_l"),
    (lambda: t.text_scores(['x', 'y'], ['x']), '^there are 2 candidates and 1 references: align them by record_id first$'),
    (lambda: t.distinct_n('all one text'), '^texts is a single text'),
    (lambda: t.distinct_n(['x'], 0), '^n is 0'),
])
def test_wrong_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message): call()


# a light and quiet import

def run(code, tmp_path):
    done = subprocess.run([sys.executable, '-W', 'default', '-c', code], capture_output=True, text=True, env=dict(os.environ, TMPDIR=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    return done


def test_importing_loads_none_of_the_text_packages(tmp_path):
    done = run("import sys, alignsurvey.metrics.texts as t; t.words('a bus'); t.jaccard('a', 'b')\n"
               "print([m for m in ('jieba', 'nltk', 'rouge_score', 'sacrebleu') if m in sys.modules])", tmp_path)
    assert done.stdout == '[]\n'


def test_the_first_chinese_word_is_cut_in_silence(tmp_path):
    done = run("import alignsurvey.metrics.texts as t; print(t.words('公交车慢'))", tmp_path)
    assert (done.stdout, done.stderr) == ("('公交车', '慢')\n", '')
    assert list(tmp_path.iterdir()) == []


def test_words_added_to_jieba_elsewhere_change_nothing(tmp_path):
    done = run("import jieba; jieba.setLogLevel(60); jieba.add_word('公交车慢', 10**6); import alignsurvey.metrics.texts as t\n"
               "print(t.words('公交车慢'), jieba.lcut('公交车慢'))", tmp_path)
    assert done.stdout == "('公交车', '慢') ['公交车慢']\n"


# at the size of a run

@pytest.mark.timing
def test_twenty_thousand_reasons_cost_little_more_than_finding_their_words(rng):
    "How fast the machine is, is not the test: finding the words alone is the measure."
    def reason(i): return '，'.join(rng.choices(CLAUSES, k=9)) + f'，第{i}次。'
    a, b = [reason(i) for i in range(20_000)], [reason(-i) for i in range(20_000)]
    t.cached_words.cache_clear()
    start = time.process_time()    # of this process, whatever else the machine does
    scores = t.text_scores(a, b, t.REASON_SCORES)
    took = time.process_time() - start
    start = time.process_time()
    for text in (a + b)[::8]:
        jieba.lcut(text)
    words = 8*(time.process_time() - start)
    print(f'{len(a):,} pairs, {np.mean([len(x) for x in a]):.0f} characters a reason, none like another: {took:.1f} s, {words:.1f} of them for words alone')
    assert len(set(a + b)) == 40_000 and scores.notna().all(axis=None)
    assert took < 1.6*words


# published answers

@pytest.fixture
def interviews(reference):
    rows = pd.DataFrame(json.loads((reference/'task2_interview.json').read_text(encoding='utf-8')))
    return rows


def test_identical_published_answers_score_one(interviews):
    "But for the turns in which nothing was said, which have no score."
    same = t.text_scores(interviews.output, interviews.output)
    silent = interviews.output == ''
    assert 0 < silent.sum() < 20
    assert (same[~silent] == 1).all(axis=None) and same[silent].isna().all(axis=None)


def test_an_own_answer_scores_above_another_respondents(interviews, rng):
    "The reference is a respondent's answer: the candidates are that answer, and others' answers to the same question."
    above = Counter()
    for _, group in interviews.groupby('qua'):
        for i, own in zip(group.id, group.output):
            others = list(group.output[group.id != i])
            for other in rng.sample(others, min(8, len(others))):
                above['pairs'] += 1
                for name in ('chrf', 'rouge_l'): above[name] += t.SCORES[name](own, own) > t.SCORES[name](other, own)
    print(f"own answer above another respondent's, {above['pairs']:,} pairs: " + ', '.join(f"{n} {above[n]/above['pairs']:.4f}" for n in ('chrf', 'rouge_l')))
    assert above['pairs'] > 500
    for name in ('chrf', 'rouge_l'): assert above[name]/above['pairs'] > .99


def test_a_respondents_way_of_speaking_shows(interviews, rng):
    "Not trivial: a respondent's answers to other questions are closer to an answer than other people's answers to other questions, on the whole."
    shares = {n: [] for n in ('chrf', 'rouge_l')}
    for i, group in interviews.groupby('id'):
        closer = {n: [] for n in shares}
        for question, reference in zip(group.qua, group.output):
            mine, theirs = (list(interviews.output[(interviews.id == i) == own][interviews.qua != question]) for own in (True, False))
            if not mine: continue
            mine, theirs = (rng.sample(x, min(8, len(x))) for x in (mine, theirs))
            for n in shares: closer[n].append(np.mean([t.SCORES[n](x, reference) for x in mine]) > np.mean([t.SCORES[n](x, reference) for x in theirs]))
        for n in shares: shares[n].append(np.mean(closer[n]))
    for n, x in shares.items():
        error = np.std(x, ddof=1)/np.sqrt(len(x))
        print(f'{n}: own other answers closer than those of others for {np.mean(x):.2f} of answers (mean of {len(x)} respondents, standard error {error:.2f})')
        assert np.mean(x) - 2*error > .5
