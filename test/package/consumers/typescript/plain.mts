// A project on Express 5 that has none of Express's types: hotpath must not ask for them.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hotpath } from 'hotpath';
import { compression } from 'hotpath/compression';
import { metrics } from 'hotpath/metrics';

type Plain = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

export const middlewares: Plain[] = [hotpath(), compression(), metrics()];
