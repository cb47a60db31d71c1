"""Licences of everything that an installed alignsurvey brings along, from the packages' own metadata."""
import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

COPYLEFT = re.compile(r'\b[AL]?GPL|GNU (?:Lesser |Affero )?General Public', re.IGNORECASE)


def needs(name):
    "Names of what a package needs here: extras apart, and what other systems or versions of Python need."
    found = map(Requirement, distribution(name).requires or [])
    return sorted(r.name for r in found if r.marker is None or r.marker.evaluate({'extra': ''}))


def brought_along(
    name='alignsurvey', # an installed package
)->list: # names, sorted; without `name` itself and what is not installed here
    "What is installed with a package, and with that, and so on."
    seen, left = {}, needs(name)
    while left:
        one = left.pop()
        key = re.sub(r'[-_.]+', '-', one).lower()
        if key in seen:
            continue
        try:
            distribution(one)
        except PackageNotFoundError:
            continue
        seen[key] = one
        left += needs(one)
    return sorted(seen)


def licence(
    name, # of an installed package
)->str: # as the package says it, in few words; 'not stated' where it says nothing
    "A package's licence: its SPDX expression, or its classifiers, or the first line of its field."
    told = distribution(name).metadata
    if told.get('License-Expression'):
        return told['License-Expression']
    classes = [c.split(' :: ')[-1] for c in told.get_all('Classifier', []) if c.startswith('License ::')]
    classes = [c for c in classes if c != 'OSI Approved']
    first = (told.get('License') or '').strip().split('\n')[0]
    return ', '.join(classes) or first or 'not stated'


def licence_page():
    "A Markdown page: one row a package."
    rows = [f'| {n} | {distribution(n).version} | {licence(n)} |' for n in brought_along()]
    head = '# Licences of what comes along\n\nPackages that an installed alignsurvey brings along, as installed where this site was built, each with the licence that its own metadata names.\n\n| package | version | licence |\n|---|---|---|\n'
    return head + '\n'.join(rows) + '\n'


if __name__ == '__main__':
    print(licence_page())
