// apicache with its form of tags: groups, set in the handler and cleared by name.
import type { NextFunction, Request, Response } from 'express';

export function tagItems(req: Request, _res: Response, next: NextFunction): void {
  if (req.path.startsWith('/item/'))
    (req as { apicacheGroup?: string }).apicacheGroup = `item:${req.params.id}`;
  next();
}

export function purgeOf(cache: { clear(target: string): unknown }): (id: number) => unknown {
  return (id) => cache.clear(`item:${id}`);
}
