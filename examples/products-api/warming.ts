import type { Hotpath } from 'hotpath';

/** Registers the URLs that are warm before the first client comes. */
export function registerWarming({ warming }: Hotpath): void {
  warming.register({
    name: 'product lists',
    urls: [
      '/api/products',
      '/api/products?page=1&pageSize=100&sort=-price',
      '/api/products?pageSize=100&fields=id,name,priceCents',
    ],
    critical: true,
    // Shorter than the five minutes that the lists are cached.
    every: '4m',
  });
  // A slow query, for which readiness does not wait.
  warming.register({ name: 'statistics', urls: ['/api/categories/stats'], every: '8m' });
}
