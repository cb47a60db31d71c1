"Files that say two things at once: each is read as the one that was meant, or refused in one sentence."
import pandas as pd
import pytest

from alignsurvey.files.tables import read_table


def table(folder, text, columns=None):
    (folder/'x.csv').write_text(text, encoding='utf-8')
    return read_table(folder/'x.csv', columns)[0]


# --- numbers in .csv files

INCOMES = 'id;income;weight\n1;{};0,9\n2;2.300;1,1\n3;12.000;1,0\n'


@pytest.mark.parametrize('columns', [None, ['income']])
@pytest.mark.parametrize('first', ['1.500', '', '999', '1.500,25'])
def test_a_point_between_thousands_is_no_decimal_point(tmp_path, first, columns):
    with pytest.raises(ValueError) as e:
        table(tmp_path, INCOMES.format(first), columns)
    row, number = (2, first) if '.' in first else (3, '2.300')
    assert str(e.value).startswith(f"x.csv: row {row}, column 'income': {number} may be")
    assert str(e.value).endswith('write numbers without thousands separators')


@pytest.mark.parametrize('text, q', [
    ('id;q;w\n1;1.500;0.9\n2;2.300;1.1\n', [1.5, 2.3]),        # no decimal comma anywhere
    ('id;q;w\n1;1.500;0,9\n2;2.35;1,1\n', [1.5, 2.35]),        # 2.35 has no thousands
    ('id;q;w\n1;0.500;0,9\n2;1.500;1,1\n', [.5, 1.5]),         # nor has 0.500
    ('id;q;w\n1;1.500;0,9\n2;v 2;1,1\n', ['1.500', 'v 2'])])   # text
def test_a_point_that_can_only_be_decimal_is(tmp_path, text, q):
    assert table(tmp_path, text).q.tolist() == q


@pytest.mark.parametrize('blank', ['', ' '])
def test_codes_with_an_e_are_no_powers_of_ten(tmp_path, blank):
    read = table(tmp_path, f'id,psu,x\n1,10,1e+05\n2,1E1,2e+05\n3,2E1,3e-1\n4,{blank},0\n')
    assert read.psu.tolist()[:3] == ['10', '1E1', '2E1'] and read.psu.isna()[3]
    assert read.x.tolist() == [1e5, 2e5, .3, 0]    # as R writes numbers


@pytest.mark.parametrize('blank', ['', ' '])
def test_codes_of_17_digits_stay_apart_where_one_is_blank(tmp_path, blank):
    read = table(tmp_path, f'id,q\n90071992547409931,1\n90071992547409932,2\n{blank},2\n')
    assert read.id.tolist()[:2] == ['90071992547409931', '90071992547409932']
    assert read.id.isna()[2]
