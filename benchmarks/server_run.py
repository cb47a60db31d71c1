"""How fast, and how large, is a run against a server? The tests' stand-in server, in a process of its own, takes 250 ms for each answer;
64 requests are under way.

Run: make bench, or python benchmarks/server_run.py. Writes server_run.json beside itself: throughput as a share of the ideal, processor time a prompt,
and peak memory with 10,000 and 100,000 records, beside what importing and reading the records took."""
import json, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).parent
STUB = HERE.parent/'tests'/'stub_server.py'


def memory(what='VmRSS'): return int(next(l for l in open('/proc/self/status') if l.startswith(what)).split()[1])/1024


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
            with open(f'{tmp}/r.jsonl', 'w') as f:
                f.writelines(json.dumps(record(i)) + '\n' for i in range(n))
            url = f'http://127.0.0.1:{int(server.stdout.readline())}/v1'
            again = [sys.executable, __file__, '--child', url, f'{tmp}/r.jsonl', f'{tmp}/run.sqlite', str(concurrency)]
            done = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
            return json.loads(done.stdout)
    finally: server.kill(); server.wait()


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']: child(*sys.argv[2:])
    else:
        n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
        speed = run(n, .25)
        speed |= dict(ideal_per_second=64/.25, share_of_ideal=round(speed['per_second']/(64/.25), 3))
        found = dict(speed=speed, memory=[run(k, 0.) for k in (n, 10*n)])
        (HERE/'server_run.json').write_text(json.dumps(found, indent=1) + '\n')
        print(json.dumps(found, indent=1))
