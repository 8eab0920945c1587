// Checked by the compiler alone (`npm run typecheck`): what the functions of a rule know of a request.
import type { Request } from 'express';
import 'express-session';
import { defineConfig, type RequestMark } from 'hotpath';

declare module 'express-session' {
  interface SessionData {
    cartId: string;
  }
}
declare global {
  namespace Express {
    interface Request {
      tenant?: { readonly id: string };
    }
  }
}

const pathOf = (req: Request): string => req.path;

export const config = defineConfig({
  routes: {
    '/carts/:id': { cache: { ttl: '1m', partition: ({ req }) => req.session.cartId } },
    '/tenants/:id': { cache: { ttl: '1m', partition: ({ req }) => req.tenant?.id } },
    // @ts-expect-error a property that nobody has declared
    '/typing-error': { cache: { ttl: '1m', partition: ({ req }) => req.tennant?.id } },
    '/pages/:id': { cache: { ttl: '1m', tags: ({ req }) => [pathOf(req), String(req.get('x-own'))] } },
  },
});

export const isInternal = (req: Request): boolean => req.hotpath?.internal === true;
export const markOf = (req: Request): RequestMark | undefined => req.hotpath;
