// Prints the names that a subpath exports, as ES module and as CommonJS.
import { createRequire } from 'node:module';

const specifier = process.argv[2];
const imported = Object.keys(await import(specifier));
const required = Object.keys(createRequire(import.meta.url)(specifier));
console.log(JSON.stringify({ imported, required }));
