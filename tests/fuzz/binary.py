"""Data files in bytes: where their cases start from, how they are changed, and what a second reading finds in them.

A second reading shares no code with the library's: the SPSS formats are read here from their published layout, .dta by
pandas, .parquet by DuckDB and .xls by calamine where these are installed. It gives the numbers and texts of each column
with their counts, or None where it can't tell.
"""
import base64
import io
import math
import random
import struct
import tempfile
import zlib
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyreadstat

NAMES = {'.dta': 'Stata data', '.por': 'SPSS portable', '.zsav': 'SPSS compressed', '.parquet': 'parquet', '.xls': 'old Excel'}


# --- seeds

def frame_of(n=12, odd='Å'):
    "A few columns of the kinds that surveys have."
    return pd.DataFrame({'PERSON': range(1, n + 1), 'TRUST': [(1, 2, 8, 3)[i % 4] for i in range(n)], 'W': [1 + i/8 if i % 5 else None for i in range(n)],
        'TOWN': [('Oslo', '', odd, 'b')[i % 4] for i in range(n)], 'BIG': [10.**i for i in range(n)]})


LABELS = dict(column_labels={'TRUST': 'How much?'}, variable_value_labels={'TRUST': {1: 'no', 2: 'etwas', 8: "don't know"}})


def written(write, kind):
    "The bytes of a file that a function writes."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/f'x{kind}'
        write(path)
        return path.read_bytes()


def stata():
    "Formats 110 to 119, of both orders of bytes, with labels, dates and long texts."
    frame = frame_of(odd='A')
    dated = frame.assign(WHEN=pd.Timestamp('2020-02-03'))
    for version in (114, 117, 118, 119):
        for order in 'little', 'big':
            yield written(lambda path: dated.to_stata(path, version=version, byteorder=order, write_index=False, value_labels={'TRUST': LABELS['variable_value_labels']['TRUST']},
                convert_strl=['TOWN'] if version > 114 else None), '.dta')
    for version in (8, 10, 12, 15):
        yield written(lambda path: pyreadstat.write_dta(frame, path, version=version, **LABELS), '.dta')
    coded = frame.assign(TRUST=[1, 2, 'a', 3]*3)
    yield written(lambda path: pyreadstat.write_dta(coded, path, missing_user_values={'TRUST': ['a']}), '.dta')


def zsav():
    "With labels, ranges of missing codes, notes and a text over several places."
    yield written(lambda path: pyreadstat.write_sav(frame_of(), path, compress=True, missing_ranges={'TRUST': [8]}, **LABELS), '.zsav')
    long = frame_of(40).assign(WHY=['because ' * (i % 40) for i in range(40)], A_LONG_NAME_OF_A_COLUMN=2.5)
    yield written(lambda path: pyreadstat.write_sav(long, path, compress=True, note='a note', file_label='made up', missing_ranges={'TRUST': [{'lo': 8, 'hi': 9}]}), '.zsav')


def por():
    yield written(lambda path: pyreadstat.write_por(frame_of(odd='A'), path), '.por')
    yield written(lambda path: pyreadstat.write_por(frame_of(40, odd='A'), path, column_labels={'TRUST': 'How much?'}, file_label='made up'), '.por')


def parquet():
    "Of each compression and version of pages, with dictionaries, several groups of rows, dates and lists."
    frame = frame_of()
    rich = frame.assign(WHEN=pd.Timestamp('2020-02-03'), KIND=pd.Categorical(frame.TOWN), YES=frame.TRUST > 1)
    for how in (dict(compression=None), dict(compression='snappy'), dict(compression='zstd'), dict(compression='gzip', data_page_version='2.0'),
            dict(compression=None, use_dictionary=False, row_group_size=5), dict(compression=None, use_dictionary=False, column_encoding='DELTA_BINARY_PACKED')):
        some = frame[['PERSON', 'TRUST']] if 'column_encoding' in how else rich
        yield written(lambda path: some.to_parquet(path, **how), '.parquet')
    yield written(lambda path: frame.assign(MANY=[[1, 2]]*12).to_parquet(path, compression=None), '.parquet')


XLS = (    # an XLSForm as an old spreadsheet program wrote it, with a formula, a truth and a date
    'c-rk)O=uKJ6n@n`oteb^Op=LW#L&p<sOv@cB0_8xe-Da!Q5PY0lF|&B=?>kkadz?F90kFX;zjTxh(8x~S%uw$;6ZR%4}u^hdi0{;!h)Liz1P)k5@*qX2D0><)T?^0-utS$-m9uk|Mj?a'
    '^zyCFF_=PYK!@?L9_l9O1eW?($OHC=AvNPVhb2sDR#ANp16gOl?@f=g6hn&l7-(=a^CxnE7g+Ye5NvlHY0e<6=Q-Gd=FlxNn0p#r!qN=$d0uVI`<S;gzrnWmn6G8cS?1knJ1TyL$JX}c'
    't5hEE(H3!EGjaiU*ykB*Rze3nq&z-;PDHi_tn*5Cd6so_Wg6iMU`RJhM|yU76bcyIEAUTf0=$hk@gHWYpIN;C)c-qKpZyPg4q86bpVu+~Cm`G}D04?JgY!nTZ~a5wVObqPpLe{Iv(Pu-'
    'minas9u|vERLsMI&OvoZV&&Ks*$z;)du4g`>W$99a>*Ysmr7?D9^;-Y%fq%4AhaLYUXWF_>~F#rcJ>85bRbk6v>3Jn>9qiC_03>FdeUTtg_b}3dcbolN6l`tc%;~tcvcRTgVIo$+;Jjg'
    'G6!H2R^~AITY2(i5O%FfzlakkIe|PVJsi+;-HML`ZgGdritSWQR#*jq2Q>(9EPS+}haMPrc-7I7Ngw%M={EpuaGhdc4m$2|1Kn?Y9_A;VhfRD+G$QZE)unbTpA~tG(EF=z{@&KR!|Gwp'
    '3BCiPn{qKl3PLzZ9_ZW*F&>8jmb1r?%ug}u0&aIQFW^STddZFs)!1~JZO(A-5*+6zrYBZ$LVGE;M_%o`+comiT88cGo5y}BTz_g^hDCUD_oF}kPQwbZLR`E+^qUpeLY=A4na}_1e9dWj'
    'HTO`x4z$1rXy9fm^GKrA5s9R!wTdJiC0$_&?wyP!7%QXf1!Eb?UaK*-#`bl}K8j2>k!b8(BGK6O3QMnnr88E8vey}FP9hOjV<Hh&lfuf>z{)UIv$D@HR!brgRz8skt5sncQ?Tk_A?u=5'
    'qqnQ5D+^tM{&Yjjp+U6d_c4G5gTK=0f_!m}9(s+|2DfRQ@KXFlGm+|g!e?u$>orro?F*?MC%0ZRx!WftcOj9;yJJGC>orrIypL&dsvmeAhM!V>F1@x>w4qkCQ%WhNlu}A*$~PTNUDI@l'
    '8|p<MtG?@ez%rhGCi&meE^zS|;D4DL!NJ;t>a_A_E*K)l5?|>Pe=j83jiY-o2)#Uy!D;6&zQ~D*&-2xe`ER#{raS)lbmsY;$Nvap-FUn')


@cache
def seeds(kind):
    "Files of a kind: (name, bytes)."
    made = {'.dta': stata, '.zsav': zsav, '.por': por, '.parquet': parquet, '.xls': lambda: [zlib.decompress(base64.b85decode(XLS))]}
    return tuple((f'x{kind}', data) for data in made[kind]())


# --- changes

SIZES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 2**63 - 1, 2**64 - 1]


def overwritten(r, data):
    "Bytes of which one to six places hold other numbers; as long as before."
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 6])):
        width = r.choice([1, 1, 1, 2, 4, 8])
        at = r.randrange(max(1, len(data) - width))
        number = r.choice(SIZES) if r.random() < .5 else r.randrange(256**width)
        data[at:at + width] = (number % 256**width).to_bytes(width, r.choice(['little', 'big']))
    return bytes(data)


def repacked(r, data):
    "A .zsav file whose unpacked cells were overwritten, packed again with all places and sizes right."
    start, end, length = struct.unpack('<3q', data[zheader(data):zheader(data) + 24])
    cells = bytearray(overwritten(r, unpacked(data)))
    block = zlib.compress(bytes(cells))
    tail = struct.pack('<2q2i2q2i', -100, 0, 0x3ff000, 1, start, start + 24, len(cells), len(block))
    return data[:start] + struct.pack('<3q', start, start + 24 + len(block), len(tail)) + block + tail


def changed_binary(kind, other, r, data):
    "As long as before two times of three; else with bytes cut out, doubled or put in."
    if r.random() > .65:
        return other(r, data)
    return (repacked if kind == '.zsav' and r.random() < .6 else overwritten)(r, data)


# --- second readings

def counted(values):
    "Numbers and texts of a column with their counts; anything missing is None."
    return Counter(plain(v) for v in values)


def plain(value):
    if value is None or isinstance(value, float) and math.isnan(value) or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, str):
        return value.partition('\0')[0].rstrip() or None
    if math.isinf(value):    # no format of a survey has such a number; pandas calls it missing
        return None
    return float(f'{value:.12g}')    # 30 to some power is not exact in all readings


def by_stata(path):
    if not map_fits(path.read_bytes()):    # pandas alone goes by it
        return None
    frame = pd.read_stata(path, convert_dates=False, convert_categoricals=False)
    return {c: counted(frame[c]) for c in frame}


def map_fits(data):
    "Whether the parts of a .dta file of today stand where its map says; what 117 says of labels is known to be wrong."
    if not data.startswith(b'<stata_dta>'):
        return True
    order = '<' if data[52:55] == b'LSF' else '>'
    places = struct.unpack_from(f'{order}14Q', data, data.find(b'<map>') + 5)
    return all(data[at:at + 1] == b'<' for i, at in enumerate(places[:12]) if i != 7)


def by_duckdb(path):
    import duckdb
    found = duckdb.sql(f"select * from read_parquet('{path}')")
    return {c: counted(v) for c, kind, v in zip(found.columns, found.types, zip(*found.fetchall())) if str(kind) in (
        'BIGINT', 'DOUBLE', 'VARCHAR', 'INTEGER', 'BOOLEAN')}


class Cut(Exception):
    "The file ends, or says what it can't mean."


def taken(data, at, form):
    try:
        return struct.unpack_from('<' + form, data, at)
    except struct.error:
        raise Cut from None


def dictionary(data):
    "Columns of a .sav file as (name, width; 0 for numbers, -1 for the rest of a text), and where what follows starts."
    if data[:4] not in (b'$FL2', b'$FL3') or taken(data, 64, 'i')[0] not in (2, 3):
        raise Cut
    at, columns, long = 176, [], {}
    while True:
        kind, = taken(data, at, 'i')
        at += 4
        if kind == 2:
            width, has_label, missing = taken(data, at, '3i')
            columns.append((data[at + 20:at + 28].decode('latin-1').rstrip(), width))
            at += 28
            if has_label:
                at += 4 + (taken(data, at, 'i')[0] + 3)//4*4
            at += 8*abs(missing)
        elif kind == 3:
            n, = taken(data, at, 'i')
            at += 4
            for _ in range(n):
                at += 8 + (taken(data, at + 8, 'B')[0] + 8)//8*8
        elif kind in (4, 6):
            n, = taken(data, at, 'i')
            at += 4 + n*{4: 4, 6: 80}[kind]
        elif kind == 7:
            what, size, n = taken(data, at, '3i')
            at += 12
            if what == 13:
                text = data[at:at + size*n].decode('utf-8', 'replace')
                long = dict(pair.split('=', 1) for pair in text.split('\t') if '=' in pair)
            at += size*n
        elif kind == 999:
            return [(long.get(name, name), width) for name, width in columns], at + 4
        else:
            raise Cut
        if not 0 < at < len(data):
            raise Cut


@cache
def zheader(data):
    return dictionary(data)[1]


def unpacked(data):
    "The cells of a .zsav file, still in SPSS's own code of bytes."
    at = zheader(data)
    _, end, _ = taken(data, at, '3q')
    n, = taken(data, end + 20, 'i')
    out = b''
    for k in range(n):
        _, start, _, size = taken(data, end + 24 + 24*k, '2q2i')
        out += zlib.decompress(data[start:start + size])
    return out


def by_layout(path):
    "Numbers of a .sav or .zsav file."
    data = path.read_bytes()
    columns, at = dictionary(data)
    packing, _, cases, bias = taken(data, 72, '3id')
    if packing not in (0, 1, 2):
        raise Cut    # no way to pack that is written down
    cells = eights(unpacked(data) if packing == 2 else data[at:], bias) if packing else plain_eights(data[at:])
    found = {name: Counter() for name, width in columns if width == 0}
    if len({name for name, width in columns if width >= 0}) < sum(width >= 0 for _, width in columns):
        raise Cut
    done = 0
    while cases < 0 or done < cases:
        row = [next(cells, None) for _ in columns]
        if row[0] is None:
            break
        if None in row:
            raise Cut
        for (name, width), cell in zip(columns, row):
            if width == 0:
                number = cell if isinstance(cell, float) else struct.unpack('<d', cell)[0]
                found[name][None if number == -1.7976931348623157e308 else plain(number)] += 1
        done += 1
    if cases >= 0 and done != cases:
        raise Cut
    return found


def plain_eights(data):
    yield from (data[i:i + 8] for i in range(0, len(data) - 7, 8))


def eights(data, bias):
    "Cells of eight bytes, unfolded: a byte of code for each, 253 for one that follows as it is."
    at = 0
    while at + 8 <= len(data):
        codes, at = data[at:at + 8], at + 8
        for code in codes:
            if code == 252:
                return
            if code == 253:
                if at + 8 > len(data):
                    raise Cut
                yield data[at:at + 8]
                at += 8
            elif code == 254:
                yield b' '*8
            elif code == 255:
                yield math.nan
            elif code:
                yield code - bias


@cache
def usual_table():
    "How the characters of a .por file are numbered, as written here, and the mark after that."
    return seeds('.por')[0][1].decode('latin-1').replace('\r', '').replace('\n', '')[200:464]


DIGITS = '0123456789ABCDEFGHIJKLMNOPQRST'


class Portable:
    "A .por file, from its first tag on."
    def __init__(self, data):
        lines = data.decode('latin-1').replace('\r', '').split('\n')
        self.text, self.at = ''.join(f'{line:<80}' for line in lines), 464
        if self.text[200:464] != usual_table() or max(map(len, lines)) > 80:
            raise Cut

    def some(self, n):
        self.at += n
        if n < 0 or self.at > len(self.text):
            raise Cut
        return self.text[self.at - n:self.at]

    def number(self):
        if self.text[self.at:self.at + 1] == ' ':    # readers differ on blanks before a number, which no program writes
            raise Cut
        if self.text[self.at:self.at + 2] == '*.':
            self.at += 2
            return None
        end = self.text.find('/', self.at)
        told = self.some(end - self.at)
        self.at += 1
        return base30(told)

    def text_of(self):
        n = self.number()
        if n is None or n != int(n):
            raise Cut
        return self.some(int(n))


def base30(told):
    "A number in SPSS's digits to the base 30, with its exponent."
    sign = -1 if told[:1] == '-' else 1
    told, power = told.lstrip('-'), 0
    for mark in '+-':
        if mark in told:
            told, _, exponent = told.partition(mark)
            power = whole(exponent)*(1 if mark == '+' else -1)
    before, _, after = told.partition('.')
    if not before + after or abs(power) > 100:
        raise Cut
    return sign*float(whole(before + after))*30.**(power - len(after))


def whole(digits):
    n = 0
    for digit in digits:
        if digit not in DIGITS:
            raise Cut
        n = 30*n + DIGITS.index(digit)
    return n


def by_portable(path):
    "Numbers and texts of a .por file."
    p, columns = Portable(path.read_bytes()), []
    p.some(1)
    p.text_of(), p.text_of()
    while True:
        tag = p.some(1)
        if tag in '123C6':
            p.text_of()
        elif tag in '459A8':
            p.number()
        elif tag == '7':
            width, name = p.number(), p.text_of()
            columns.append((name, width))
            for _ in range(6):
                p.number()
        elif tag == 'F':
            break
        else:
            raise Cut
    found = {name: Counter() for name, _ in columns}
    if not columns or len(found) < len(columns):
        raise Cut
    while p.text[p.at:p.at + 1] != 'Z':
        for name, width in columns:
            found[name][plain(p.text_of() if width else p.number())] += 1
    return found


def numbers_by_calamine(path):
    "Counts of the numbers in each sheet; to be called in another process, which calamine may bring down."
    import python_calamine
    try:
        book = python_calamine.CalamineWorkbook.from_path(path)
        sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except BaseException:    # Rust's panics are of no class below
        return {}
    return {name: Counter(f'{v:g}' for row in rows for v in row if type(v) in (int, float)) for name, rows in sheets.items()}


SECOND = {'.dta': by_stata, '.sav': by_layout, '.zsav': by_layout, '.por': by_portable}
if find_spec('duckdb'):
    SECOND['.parquet'] = by_duckdb


def second_reading(path):
    "Column -> counts, or None where this reading can't tell."
    try:
        return SECOND[path.suffix](path)
    except Exception:    # a second reading may fail in any way: then there is nothing to compare
        return None
