import { hotpath } from 'hotpath';
import { describe, expect, it, vi } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { freePort } from '../../helpers/port.js';
import { checkMetrics, Prometheus } from '../../helpers/prometheus.js';

const later = closeAfterEach();
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

async function serve(exemplars: boolean) {
  const perf = hotpath({
    metrics: { exemplars, prefix: '' },
    // Nobody listens there; the metrics of Redis are there all the same.
    cache: { redis: { url: `redis://127.0.0.1:${await freePort()}` } },
    routes: { '/items/:id': { cache: { ttl: '1h' } } },
  });
  later(perf);
  const app = express5();
  app.use(perf);
  app.get('/metrics', perf.metrics.handler);
  app.get('/items/:id', (_req, res) => void res.send('ok'));
  const server = await listen(app);
  later(server);
  const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
  for (let at = 0; at < 7; at++) await (await fetch(`${server.url}/items/${at}`, { headers })).text();
  await (await fetch(`${server.url}/nowhere/"\\`, { headers })).text();
  await waitFor(() => perf.telemetry!.snapshot().requests.active === 0);
  await perf.telemetry!.step();
  return { perf, ...server };
}

describe('Prometheus', () => {
  it('scrapes text and OpenMetrics, finds the same numbers, and keeps exemplars', async () => {
    const [text, open] = [await serve(false), await serve(true)];
    const prometheus = await Prometheus.start({ text: text.port, open: open.port });
    later({ close: () => prometheus.stop() });
    const found = async (query: string) =>
      Object.fromEntries(
        (await prometheus.query(query)).map(({ metric, value: [, value] }) => [metric.job, Number(value)]),
      );
    const both = (value: number) => ({ text: value, open: value });
    // A scrape on a busy machine may come too late, and its series are gone until the next.
    await vi.waitFor(
      async () => {
        expect(await found('http_requests_total{path="/items/:id",status="200"}')).toEqual(both(7));
        expect(await found('http_requests_total{path="unmatched",status="404"}')).toEqual(both(1));
        expect(await found('http_request_duration_seconds_count{path="/items/:id"}')).toEqual(both(7));
        expect(
          await found('count by (job) (http_request_duration_seconds_bucket{path="/items/:id"})'),
        ).toEqual(both(12));
        const response = await found('hotpath_http_response_body_bytes_total');
        expect(response.text).toBeGreaterThan(0);
        const names = async (job: string) =>
          (await prometheus.query(`count by (__name__) ({job="${job}"})`))
            .map(({ metric }) => metric.__name__)
            .sort();
        expect(await names('open')).toEqual(await names('text'));
        const exemplars = JSON.stringify(
          await prometheus.get(
            `/api/v1/query_exemplars?query=http_request_duration_seconds_bucket&start=${Date.now() / 1000 - 600}&end=${Date.now() / 1000 + 600}`,
          ),
        );
        expect(exemplars).toContain(traceId);
        const { activeTargets } = (await prometheus.get('/api/v1/targets')) as {
          activeTargets: { lastError: string }[];
        };
        expect(activeTargets.map(({ lastError }) => lastError)).toEqual(['', '']);
      },
      { timeout: 90_000, interval: 500 },
    );
  });

  it('accepts the metrics except for three names of prom-client', async () => {
    const { perf, url } = await serve(false);
    perf.telemetry!.watchProcess(process.pid, 'own');
    await perf.telemetry!.step();
    await waitFor(() => perf.telemetry!.system().others.length > 0);
    const problems = checkMetrics(await (await fetch(`${url}/metrics`)).text());
    expect(problems.map((line) => line.split(' ')[0]).sort()).toEqual([
      'nodejs_active_handles_total',
      'nodejs_active_requests_total',
      'nodejs_active_resources_total',
    ]);
  });
});
