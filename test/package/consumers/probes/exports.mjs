// Prints the names that each subpath exports, as ES module and as CommonJS.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const found = {};
for (const specifier of process.argv.slice(2)) {
  const imported = Object.keys(await import(specifier));
  found[specifier] = { imported, required: Object.keys(require(specifier)) };
}
console.log(JSON.stringify(found));
