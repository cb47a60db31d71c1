"""How fast, and how large, is a run against a server? The tests' stand-in server, in a process of its own, takes 250 ms for each answer;
64 requests are under way.

Run: make bench, or python benchmarks/server_run.py [--prompts 10000] [--quick]. Writes server_run.json beside itself: throughput as a share of the ideal, processor time a prompt,
and peak memory with so many and ten times as many records, beside what importing and reading the records took."""
import argparse, json, subprocess, sys, tempfile, time
from pathlib import Path
from options import Options

STUB = Path(__file__).parent.parent/'tests'/'stub_server.py'


def memory(what='VmRSS'): return int(next(l for l in open('/proc/self/status', encoding='utf-8') if l.startswith(what)).split()[1])/1024


def child(url, records, journal, concurrency):
    "One run, as a user starts it."
    from alignsurvey.prediction.elicitation import predict
    from alignsurvey.records.reading import read_records
    from alignsurvey.prediction.server import connect
    imported, data = memory(), read_records(records)
    read, server = memory(), connect('stub', base_url=url, concurrency=int(concurrency))
    server.probe()
    start, used = time.perf_counter(), time.process_time()
    got = predict(server, data, journal=journal)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    assert set(got.status) == {'ok'}
    print(json.dumps(dict(prompts=len(data), seconds=round(seconds, 1), per_second=round(len(data)/seconds), processor_ms=round(1000*used/len(data), 2),
                          imported_mib=round(imported), read_mib=round(read), peak_mib=round(memory('VmHWM')))))


def record(i):
    return dict(record_id=f'r{i}', respondent_id=f'r{i}', instruction=f'You are person {i}. Roads?\nA. too little\nB. too much', input='',
                output='A', answer_form='label', options=['too little', 'too much'])


def run(n, latency, concurrency=64):
    "A run in a process of its own, against a server in another."
    server = subprocess.Popen([sys.executable, STUB, json.dumps(dict(latency=latency))], stdout=subprocess.PIPE, text=True)
    try:
        with tempfile.TemporaryDirectory() as tmp:
            with open(f'{tmp}/r.jsonl', 'w', encoding='utf-8') as f:
                f.writelines(json.dumps(record(i)) + '\n' for i in range(n))
            url = f'http://127.0.0.1:{int(server.stdout.readline())}/v1'
            again = [sys.executable, __file__, '--child', url, f'{tmp}/r.jsonl', f'{tmp}/run.sqlite', str(concurrency)]
            done = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
            return json.loads(done.stdout)
    finally: server.kill(); server.wait()


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--prompts', 10_000, quick=500)
    ask.add_argument('--child', nargs=4, help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.child: child(*given.child)
    else:
        n = given.prompts
        speed = run(n, .25)
        speed |= dict(ideal_per_second=64/.25, share_of_ideal=round(speed['per_second']/(64/.25), 3))
        found = dict(speed=speed, memory=[run(k, 0.) for k in (n, 10*n)])
        given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
        print(json.dumps(found, indent=1))
