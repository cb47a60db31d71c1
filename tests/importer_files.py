"Small files of each format that an importer reads, made up, and ways to break them."
import base64
import copy
import io
import json
import random
import zipfile
import zlib

DDI = '''<?xml version="1.0" encoding="UTF-8"?>
<codeBook xmlns="ddi:codebook:2_5" version="2.5" xml:lang="en"><stdyDscr><citation><titlStmt>
<titl>Life in a Made-up Town</titl></titlStmt></citation></stdyDscr><dataDscr>
<var ID="V1" name="trust" files="F1" intrvl="discrete"><labl>TRUST</labl><qstn><preQTxt>On institutions.</preQTxt>
<qstnLit xml:lang="en">How much do you trust the council? [READ OUT]</qstnLit><qstnLit xml:lang="fi">Luotatko?</qstnLit>
<ivuInstr>Ask all</ivuInstr></qstn><valrng><range min="1" max="9"/></valrng><invalrng><item VALUE="9"/></invalrng>
<universe>Adults</universe><catgry missing="N"><catValu>1</catValu><labl>1. A lot</labl></catgry>
<catgry><catValu>2</catValu><labl>2. Not at all</labl></catgry><catgry missing="Y"><catValu>9</catValu><labl>Refused</labl></catgry></var>
<var name="age" intrvl="contin"><labl>Age in years</labl></var>
<var name="w" wgt="wgt"><labl>Weight</labl></var></dataDscr></codeBook>'''

LSS = '''<?xml version="1.0" encoding="UTF-8"?><document><LimeSurveyDocType>Survey</LimeSurveyDocType><DBVersion>177</DBVersion>
<languages><language>en</language><language>de</language></languages>
<answers><rows><row><qid>1</qid><code><![CDATA[A1]]></code><answer>Bus</answer><sortorder>1</sortorder><language>en</language></row>
<row><qid>1</qid><code>A2</code><answer>Tram</answer><sortorder>2</sortorder><language>en</language></row></rows></answers>
<conditions><rows><row><cid>1</cid><qid>2</qid><cqid>1</cqid><method>==</method><value>A1</value></row>
<row><cid>2</cid><qid>1</qid><cqid>2</cqid><method>==</method><value>Y</value></row></rows></conditions>
<questions><rows><row><qid>1</qid><parent_qid>0</parent_qid><gid>1</gid><type>L</type><title>go</title><question>How do you go, {TOKEN:FIRSTNAME}?</question>
<other>Y</other><question_order>1</question_order><language>en</language><relevance>1</relevance></row>
<row><qid>2</qid><parent_qid>0</parent_qid><gid>1</gid><type>M</type><title>see</title><question>What do you see?</question><question_order>2</question_order><language>en</language><relevance>go == 'A1'</relevance></row>
<row><qid>4</qid><parent_qid>0</parent_qid><gid>1</gid><type>R</type><title>rank</title><question>Rank</question><question_order>3</question_order><language>en</language></row></rows></questions>
<subquestions><rows><row><qid>3</qid><parent_qid>2</parent_qid><type>T</type><title>SQ1</title><question>Trees</question><question_order>1</question_order><language>en</language></row></rows></subquestions>
</document>'''

SPS = '''* Made up.
DATA LIST FILE 'x.txt' / trust 1 news1 2 news2 3 w 4-8.
VARIABLE LABELS trust "How much do you trust " + "the council?" /news1 'Papers' /w "Weight".
VALUE LABELS trust 1 'A lot' 2 'Not at all' 9 "Won't say" /news1 TO news2 0 'no' 1 'yes'.
MISSING VALUES trust (6 THRU 9) news1 (LO THRU -1, 9).
VARIABLE LEVEL trust (ORDINAL).
MRSETS /MDGROUP NAME=$news LABEL='News' VARIABLES=news1 news2 VALUE=1.
WEIGHT BY w.
'''


def qsf():
    "A survey of Qualtrics with one question of each kind that matters."
    choices = {'1': {'Display': 'A <b>lot</b>'}, '2': {'Display': 'Not at all'}}
    base = dict(Choices=choices, ChoiceOrder=['2', 1], Language=[], RecodeValues={'1': '5', '2': '-9'})
    asked = [dict(base, QuestionID='QID1', DataExportTag='trust', QuestionType='MC', Selector='SAVR', QuestionText='Trust in ${e://Field/x}?',
                  DisplayLogic={'0': {'0': {'Description': 'If age > 17', 'LeftOperand': 'q://QID2'}}}),
             dict(base, QuestionID='QID2', DataExportTag='grid', QuestionType='Matrix', Selector='Likert', SubSelector='SingleAnswer',
                  QuestionText='How often?', Answers=choices, AnswerOrder=[1, 2],
                  DisplayLogic={'0': {'0': {'Description': 'If trust', 'LeftOperand': 'q://QID1'}}}),
             dict(base, QuestionID='QID3', DataExportTag='tick', QuestionType='MC', Selector='MAVR', QuestionText='Which?'),
             dict(base, QuestionID='QID4', DataExportTag='place', QuestionType='RO', Selector='DND', QuestionText='Rank'),
             dict(base, QuestionID='QID5', DataExportTag='slide', QuestionType='Slider', Selector='HSLIDER', QuestionText='0 to 100?',
                  Configuration=dict(CSSliderMin=0, CSSliderMax=90)),
             dict(QuestionID='QID6', DataExportTag='side', QuestionType='SBS', Selector='SBSMatrix', QuestionText='Both', Choices=choices,
                  AdditionalQuestions={'1': dict(QuestionText='Left', Answers=choices, QuestionType='Matrix', Selector='Likert')})]
    blocks = [dict(Type='Default', BlockElements=[dict(Type='Question', QuestionID=q['QuestionID']) for q in asked])]
    flow = dict(Type='Root', Flow=[dict(Type='Branch', Flow=[])])
    elements = [dict(Element='SQ', Payload=q) for q in asked] + [dict(Element='BL', Payload=blocks), dict(Element='FL', Payload=flow)]
    return json.dumps(dict(SurveyEntry=dict(SurveyName='Made up', SurveyLanguage='EN'), SurveyElements=elements))


def xlsx():
    "An XLSForm."
    import openpyxl
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = 'survey'
    for row in (['type', 'name', 'label::English (en)', 'relevant'], ['start', 'started'], ['select_one yn', 'water', 'Is there water?', "${from} = 'x'"],
                ['select_multiple yn', 'from', 'From where?', "${water} = 'yes'"], ['integer', 'rooms', 'How many rooms has ${name}?']):
        sheet.append(row)
    choices = book.create_sheet('choices')
    for row in (['list_name', 'name', 'label::English (en)'], ['yn', 'yes', 'Yes'], ['yn', 'no', 'No'], ['yn', -999, "Don't know"]):
        choices.append(row)
    raw = io.BytesIO()
    book.save(raw)
    return raw.getvalue()


# an old spreadsheet of two rows: a truth, a date, a time, an error, two numbers and a letter; another error
OLD_CELLS = zlib.decompress(base64.b85decode(
    'c-rk)O=uHA6#izC&Cimio0tl%P-4NVu@~_oLc3Ma_L5S)C@N@cbC60Z>krg}R%?!e;7RdPs0Tr6z4(I)^(H7(^dJaAQcvPZQ1H-Zee-q~lB&>v7A*5^=FOWo@6DUpnKwI`H}k3T)PuGP'
    'mZ1kBRNXitH8Mdd9uzE4z3VDA$YYdTjsFVq7)@lvz|*GJQ8kBZzAKQJ4Zk1?EKoX%(-;^l7P6~|J=}*Oq59BGRNyvAl4#{#rJ0^!x{m36)_lgamnGMjc9U*d9LBsoklX36;zP27>yl9I'
    'K4O~>EZL40yi}|B(skkK8rbce96GgDD%!&dOoL{+uTU&Fs%+v8RieLtS3X}xh8DmyzPnlATM+4USuI~(xd6$3)XSrPkjK#cTX~%3b-Db83<DEzk8?nkC;&Ewy`VpH&N*KgUqpg8c|UzN'
    ')rQX-gjKgeG;!c0h>nnV#iuxYEb7hT-LG%+!-MuQmQ3(R!E14o@(vf5l?53mxkfToP3M^3#`Frex`FvNrWsnLly?rc_{_dZ*15{Ho#bZ+<DI>^hTlSb>C67d?WIrlR^n&+Di<;{@9imc'
    '&>I>dd-Y7BOLU1_Hx-`PK`#7l<|EVAU$&f>wEVui{`avNhV;gpqE;_TlSiJ$!aa!)k5`iItZ{^XbGD}&BHf&LPFg^ic$2MP5jC*Hr3jVb`}1a|-k)HLsOXVtJmlBeTl3L2p`oFnp`oFn'
    'p`lTCrz80os*a!P(CHoVqyD|l5~ZrXCRwvMfH8W`(jUdWC{pfVyrK289)<|o5-YR`?h6$Tl6MEA80LPAHoSi6FPf+w&x#GLzZXJ{`mZ+9&wuRyCnVC;Nd'))
FORMATS = {'.xml': DDI.encode(), '.lss': LSS.encode(), '.sps': SPS.encode(), '.qsf': qsf().encode(), '.xlsx': xlsx()}
ODD = [b'', b'\x00', b'&x;', b'<![CDATA[', b']]>', b'<!DOCTYPE a [<!ENTITY x "y">]>', b'<a xmlns="b"/>', b'"', b"'", b'{', b'[]', b'null', b'-1e999', b'NaN',
    b'\xff\xfe', '\u202e'.encode(), b'((((', b'TO', b'THRU', b'/', b'.\n', b'99999999999999999999', b'${q://', b'{INSERTANS:', b'<script>', b'true', b'\xf0\x9f']


def mutated(raw, rng):
    "The bytes with one to eight changes: cut, doubled, replaced, or something odd put in."
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.choice([1, 1, 2, 8, 64, 400]))
        how = rng.randrange(5)
        if how == 0:
            del raw[at:end]
        elif how == 1:
            raw[at:at] = raw[at:end]
        elif how == 2:
            raw[at:at] = rng.choice(ODD)
        elif how == 3:
            raw[at:end] = rng.choice(ODD)
        elif at < len(raw):
            raw[at] = rng.randrange(256)
    return bytes(raw)


VALUES = [None, True, -1, 1e308, '', 'x', [], {}, [[]], {'1': None}, 'Matrix', '5' * 300, {'Display': ['a']}, [{'QuestionID': 'QID1'}], '${e://x}']


def mutated_json(raw, rng):
    "JSON that is still valid, one to four of its values exchanged for others."
    tree = json.loads(raw)
    for _ in range(rng.randint(1, 4)):
        places, todo = [], [tree]
        while todo:
            node = todo.pop()
            keys = list(node) if isinstance(node, dict) else range(len(node))
            places += [(node, k) for k in keys]
            todo += [node[k] for k in keys if isinstance(node[k], (dict, list))]
        if places:
            node, key = rng.choice(places)
            node[key] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(tree).encode()


def mutated_xml(raw, rng):
    "XML that is still well-formed: elements dropped, doubled, emptied, renamed, moved, texts and attributes exchanged."
    from lxml import etree
    root = etree.fromstring(raw)
    for _ in range(rng.randint(1, 5)):
        nodes = [e for e in root.iter() if isinstance(e.tag, str) and e is not root]
        if not nodes:
            break
        e, other, how = rng.choice(nodes), rng.choice(nodes), rng.randrange(6)
        if how == 0:
            e.getparent().remove(e)
        elif how == 1:
            e.getparent().append(etree.fromstring(etree.tostring(e)))
        elif how == 2:
            e.text = rng.choice(['', ' ', 'x' * 3000, '-1e999', 'nan', '1, 2', '${q://a}', '<b>', str(rng.random())])
        elif how == 3:
            e.tag = other.tag
        elif how == 4:
            e.append(etree.fromstring(etree.tostring(other)))
        elif e.attrib:
            e.attrib[rng.choice(list(e.attrib))] = rng.choice(['', 'Y', 'x', '-1', 'inf', ' '])
    return etree.tostring(root)


def broken(ending, raw, rng):
    "A file of a format, broken; of a spreadsheet half the time one of its parts is broken and zipped again."
    valid = {'.qsf': mutated_json, '.xml': mutated_xml, '.lss': mutated_xml}.get(ending)
    if valid and rng.random() < .6:
        return valid(raw, rng)
    if ending != '.xlsx' or rng.random() < .3:
        return mutated(raw, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as z, zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as w:
        chosen = rng.choice(z.namelist())
        for name in z.namelist():
            w.writestr(name, mutated(z.read(name), rng) if name == chosen else z.read(name))
    return out.getvalue()


def mutated_file(ending, seed):
    "A broken file of a format, by its number."
    return broken(ending, FORMATS[ending], random.Random(f'{ending}{seed}'))
