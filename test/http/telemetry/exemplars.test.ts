import { hotpath } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { listen, majors, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
const open = 'application/openmetrics-text; version=1.0.0';
const traceOfRequest = (at: number) => at.toString(16).padStart(32, '0');

describe.each(majors)('exemplars on %s', (_name, express) => {
  async function serve(exemplars: boolean) {
    const perf = hotpath({
      metrics: { exemplars, defaultMetrics: false },
      routes: { '/items/:id': { cache: { ttl: '1h', shared: true } } },
    });
    const app = express();
    app.use(perf);
    app.get('/metrics', perf.metrics.handler);
    app.get('/items/:id', (_req, res) => void res.send('ok'));
    app.get('/own/:id', (_req, res) => void res.send('ok'));
    perf.attach(app);
    const server = await listen(app);
    later(server);
    later(perf);
    const scrape = async (accept: string) => {
      const answer = await fetch(`${server.url}/metrics`, { headers: { accept } });
      const { headers } = answer;
      return { type: headers.get('content-type'), vary: headers.get('vary'), text: await answer.text() };
    };
    let asked = 0;
    const ask = async (path: string) => {
      const headers = {
        traceparent: `00-${traceOfRequest(++asked)}-00f067aa0ba902b7-01`,
        'accept-encoding': 'identity',
      };
      await (await fetch(server.url + path, { headers })).text();
      await waitFor(() => perf.telemetry!.snapshot().requests.active === 0);
      return traceOfRequest(asked);
    };
    return { scrape, ask, perf };
  }

  it('name the trace of a request inside Express and at the front door, in OpenMetrics alone', async () => {
    const { scrape, ask, perf } = await serve(true);
    const before = await scrape('text/plain');
    expect(before).toMatchObject({ type: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(before.vary).toMatch(/\bAccept\b(?!-)/);
    // The last two requests may fall into different buckets.
    const inside = await ask('/own/1');
    await ask('/items/1');
    const hit = await ask('/items/1');
    expect(perf.cache.stats().frontDoor.hits).toBe(1);
    const { type, text } = await scrape(open);
    expect(type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    const exemplars = text.split('\n').filter((line) => line.includes(' # {'));
    expect(exemplars.length).toBeGreaterThanOrEqual(2);
    for (const line of exemplars)
      expect(line).toMatch(
        /^http_request_duration_seconds_bucket\{le="[\d.]+",method="GET",path="\/(own|items)\/:id"\} \d+ # \{trace_id="[\da-f]{32}"\} [\d.e-]+ \d{10}(\.\d+)?$/,
      );
    expect(exemplars.join()).toContain(inside);
    expect(exemplars.join()).toContain(hit);
    expect(text).toMatch(/\nhttp_requests_total\{method="GET",path="\/own\/:id",status="200"\} 1\n/);
    expect(text.endsWith('\n# EOF\n')).toBe(true);
    const after = await scrape('text/plain');
    expect(after.text).toContain('# TYPE http_requests_total counter');
    expect(after.text).not.toContain('trace_id');
  });

  it('are off by default: every scraper gets text', async () => {
    const { scrape, ask } = await serve(false);
    await ask('/own/1');
    const { type, vary, text } = await scrape(open);
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(vary ?? '').not.toMatch(/\bAccept\b(?!-)/);
    expect(text).not.toContain('trace_id');
  });
});
