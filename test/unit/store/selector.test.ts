import { describe, expect, it } from 'vitest';
import { HotpathError } from '../../../src/options/errors.js';
import { compileSelector, compileSelectors } from '../../../src/store/invalidation/selector.js';

describe('selectors', () => {
  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'products'],
    ['an empty object', {}],
    ['two forms at once', { tag: 'a', url: '/b' }],
    ['an empty tag', { tag: '' }],
    ['a tag that is no text', { tag: 1 }],
    ['a URL with another scheme', { url: 'ftp://example.com/' }],
    ['a URL that can not be read', { url: 'http://[::1/' }],
    ['a URL without a host', { url: 'http:///x' }],
    ['a path without a slash', { url: 'x' }],
    ['a URL object', { url: new URL('http://example.com/') }],
    ['all: false', { all: false }],
    ['an unknown form', { path: '/x' }],
    ['a form by inheritance', Object.create({ all: true })],
    ['an object that holds itself', circular()],
  ])('rejects %s with an error that names the four forms [K06]', (_, given) => {
    const refused = () => compileSelector(given as never);
    expect(refused).toThrow(HotpathError);
    expect(refused).toThrow(expect.objectContaining({ code: 'HOTPATH_SELECTOR_INVALID' }));
    expect(refused).toThrow(/\{ tag: 'name' \}.*\{ all: true \}/s);
  });

  it('names a pattern that cannot be compiled in the error [K06]', () => {
    expect(() => compileSelector({ pattern: '/a/*' })).toThrow(HotpathError);
    expect(() => compileSelector({ pattern: '/a/*' })).toThrow('/a/*');
  });

  it.each([
    ['/api/*', "name each wildcard ('*path')"],
    ['/api/(.*)', 'write optional parts in braces'],
    ['/x?page=1', 'a path in Express 5 syntax'],
    ['api/:id', "starting with '/'"],
    ['https://host/:id', "starting with '/'"],
  ])('explains in an error why it rejects the pattern %s [K06]', (pattern, hint) => {
    const refused = () => compileSelector({ pattern });
    expect(refused).toThrow(expect.objectContaining({ code: 'HOTPATH_SELECTOR_INVALID' }));
    expect(refused).toThrow('selector: pattern: expected');
    expect(refused).toThrow(hint);
    expect(refused).toThrow(`received '${pattern}'`);
    expect(refused).not.toThrow(/config|routes/);
  });

  it('gives all spellings of a URL one name, with the host of a full URL first', () => {
    const names = (url: string) => compileSelectors({ url }).map(({ value }) => value);
    expect(names('/Zürich/?a=1')).toEqual(names('/z%c3%bcrich?&a=1'));
    expect(names('https://Shop.Example:443/x')).toEqual(['shop.example/x']);
    expect(names('https://shop.example')).toEqual(['shop.example/']);
    expect(names('https://shop.example?a')).toEqual(['shop.example/?a']);
    expect(names('/C#')).toEqual(['/c', '/c%23']);
    expect(names('/x#')).toEqual(['/x', '/x%23']);
  });

  it('ignores an explicit undefined beside one form [K06]', () => {
    expect(compileSelector({ tag: 'a', url: undefined } as never)).toMatchObject({ kind: 'tag', value: 'a' });
  });
});

function circular(): object {
  const self: Record<string, unknown> = {};
  self.self = self;
  return self;
}
