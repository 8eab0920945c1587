import { createServer, request, type Server } from 'node:http';
import { pipeline } from 'node:stream';

/** An instance behind the load balancer. */
export interface Behind {
  readonly name: string;
  readonly url: string;
}

/**
 * A minimal load balancer: it sends requests to the instances in turn, with one host name, which is part of
 * the cache's keys. `X-Instance` names the instance that responded.
 */
export function createFront(instances: readonly Behind[]): Server {
  let turn = 0;
  return createServer((req, res) => {
    const { name, url } = instances[turn++ % instances.length] as Behind;
    const { method, headers } = req;
    const onward = request(new URL(req.url ?? '/', url), { method, headers, agent: false });
    onward.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, [...answer.rawHeaders, 'X-Instance', name]);
      pipeline(answer, res, () => {});
    });
    onward.on('error', () => {
      if (res.headersSent) res.destroy();
      else res.writeHead(502, { 'X-Instance': name }).end();
    });
    res.on('close', () => onward.destroy());
    req.pipe(onward);
  });
}
