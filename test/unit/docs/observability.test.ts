import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openApi } from '../../helpers/openapi.js';

/** The names of all members in a schema, and in those within it. */
function membersOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { properties } = schema as { properties?: unknown };
  const isMap = typeof properties === 'object' && properties !== null;
  return [...(isMap ? Object.keys(properties) : []), ...Object.values(schema).flatMap(membersOf)];
}

describe('docs/observability.md', () => {
  it('explains every field of the performance API by its name', () => {
    // The figures of a monitored pool have a page of their own.
    const pages = ['observability', 'postgres', 'index-adviser'].map((name) =>
      readFileSync(new URL(`../../../docs/${name}.md`, import.meta.url), 'utf8'),
    );
    const prose = pages.join('\n').replaceAll(/```.*?```/gs, '');
    const explained = new Set([...prose.matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) => code!.match(/\w+/g)));
    const fields = new Set(membersOf(openApi.components.schemas));
    expect(fields.size).toBeGreaterThan(200);
    expect([...fields].filter((field) => !explained.has(field))).toEqual([]);
  });
});
