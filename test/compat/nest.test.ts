import 'reflect-metadata';
import {
  type CallHandler,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Module,
  type NestInterceptor,
  Post,
  Req,
  UnauthorizedException,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Request, Response } from 'express';
import { type CacheRule, hotpath } from 'hotpath';
import { Observable } from 'rxjs';
import { expect, it } from 'vitest';

type NestRequest = Request & { user?: { id: string } };

const perf = hotpath({
  metrics: { defaultMetrics: false },
  routes: { '/products': { cache: { ttl: '1m', tags: ['products'] } } },
});

/** The recipe of docs/adapters.md: interceptors run after guards, so that the rule sees `req.user`. */
class CacheInterceptor implements NestInterceptor {
  readonly #cached: ReturnType<typeof perf.cache.route>;
  constructor(rule: CacheRule) {
    this.#cached = perf.cache.route(rule);
  }
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const req = http.getRequest<Request>();
    const res = http.getResponse<Response>();
    return new Observable((subscriber) => {
      // A hit has been sent when the response closes, and the handler does not run.
      const onClose = () => subscriber.complete();
      res.once('close', onClose);
      this.#cached(req, res, (error) => {
        res.off('close', onClose);
        if (error) subscriber.error(error);
        else next.handle().subscribe(subscriber);
      });
    });
  }
}

class AuthGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const req = context.switchToHttp().getRequest<NestRequest>();
    const id = req.get('x-user');
    if (id === undefined) throw new UnauthorizedException();
    req.user = { id };
    return true;
  }
}

let runs = 0;
class ShopController {
  products() {
    return { run: ++runs };
  }
  orders(req: NestRequest) {
    return { run: ++runs, user: req.user?.id };
  }
  async change() {
    await perf.cache.purge({ tag: 'products' });
  }
}
// Decorators as functions: this repository's TypeScript compiles none.
const decorate = (name: 'products' | 'orders' | 'change', ...decorators: MethodDecorator[]) => {
  const property = Object.getOwnPropertyDescriptor(ShopController.prototype, name)!;
  for (const decorator of decorators) decorator(ShopController.prototype, name, property);
};
decorate('products', Get('products'));
decorate('change', Post('products'));
decorate(
  'orders',
  Get('orders'),
  UseGuards(new AuthGuard()),
  UseInterceptors(new CacheInterceptor({ ttl: '1m', partition: ({ req }) => (req as NestRequest).user?.id })),
);
Req()(ShopController.prototype, 'orders', 0);
Controller()(ShopController);

class AppModule {}
Module({ controllers: [ShopController] })(AppModule);

it('caches public routes, and routes behind guards per user, in NestJS 11', async () => {
  const app = await NestFactory.create(AppModule, { logger: false });
  app.use(perf);
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const ask = async (path: string, user?: string, method = 'GET') => {
    const res = await fetch(url + path, { method, headers: user ? { 'x-user': user } : {} });
    const text = await res.text();
    return [res.status, res.headers.get('x-cache'), text && JSON.parse(text).run];
  };
  expect([await ask('/products'), await ask('/products')]).toEqual([
    [200, 'MISS', 1],
    [200, 'HIT', 1],
  ]);
  await ask('/products', undefined, 'POST');
  expect(await ask('/products')).toEqual([200, 'MISS', 2]);
  expect([await ask('/orders', 'a'), await ask('/orders', 'a')]).toEqual([
    [200, 'MISS', 3],
    [200, 'HIT', 3],
  ]);
  expect(await ask('/orders', 'b')).toEqual([200, 'MISS', 4]);
  expect((await ask('/orders'))[0]).toBe(401);
  await app.close();
  await perf.close();
});
