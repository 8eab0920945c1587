import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    compression: 'src/entries/compression.ts',
    cache: 'src/entries/cache.ts',
    'cache-control': 'src/entries/cache-control.ts',
    timing: 'src/entries/timing.ts',
    metrics: 'src/entries/metrics.ts',
    'size-limit': 'src/entries/size-limit.ts',
  },
  format: ['esm', 'cjs'],
  target: 'node20.19',
  dts: true,
  // Without splitting every CommonJS entry carries its own copy of shared modules,
  // and `instanceof HotpathError` is false across subpaths.
  splitting: true,
  sourcemap: true,
  clean: true,
});
