import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { expect } from 'vitest';

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: { $ref?: string } }>> }>
  >;
}

/** The OpenAPI file of the performance API. */
export const openApi = JSON.parse(
  readFileSync(new URL('../../openapi/performance-api.json', import.meta.url), 'utf8'),
) as {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
};

const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema(openApi, 'file');
const compiled = new Map<string, ValidateFunction>();

/** Fails unless a value has exactly the members of a schema of the file, with their types and bounds. */
export function expectSchema(name: string, value: unknown): void {
  const validate = compiled.get(name) ?? ajv.compile({ $ref: `file#/components/schemas/${name}` });
  compiled.set(name, validate);
  const problems = validate(value)
    ? []
    : (validate.errors ?? []).map(({ instancePath, message, params }) => [instancePath, message, params]);
  expect(problems, name).toEqual([]);
}

/**
 * Fails unless the file has the response: path, method, status, media type and every member of the body.
 *
 * @param path below the mount, without a query.
 */
export async function expectDocumented(response: Response, method: string, path: string): Promise<unknown> {
  const text = await response.text();
  const documented = openApi.paths[path]?.[method.toLowerCase()]?.responses[response.status];
  expect(documented, `${method} ${path} ${response.status} is not in the file: ${text}`).toBeDefined();
  const type = response.headers.get('content-type')?.split(';')[0] ?? '';
  const schema = documented!.content[type]?.schema;
  expect(schema, `${method} ${path} ${response.status}: ${type}`).toBeDefined();
  const value: unknown = JSON.parse(text);
  expectSchema(schema!.$ref!.split('/').at(-1)!, value);
  return value;
}
