// Prints every file that importing a subpath loads, one per line.
import { createRequire, register } from 'node:module';

const hooks = `
  import { writeSync } from 'node:fs';
  export async function resolve(specifier, context, next) {
    const resolved = await next(specifier, context);
    writeSync(1, resolved.url + '\\n');
    return resolved;
  }`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
await import(process.argv[2]);
// The hooks do not see modules that a CommonJS package requires.
for (const file of Object.keys(createRequire(import.meta.url).cache)) console.log(file);
