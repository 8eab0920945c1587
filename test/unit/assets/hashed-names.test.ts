import { describe, expect, it } from 'vitest';
import { isHashedName } from '../../../src/assets/hashed-names.js';

describe('names with a hash of the content', () => {
  it.each([
    ['Vite', 'index-BkL3d9_x.js'],
    ['Vite, a style sheet', 'index-DQX8mNyT.css'],
    ['Vite, a source map', 'vendor-C7pR2s1a.js.map'],
    ['Rollup, after a dot', 'acorn.B2iPLyUM.js'],
    ['webpack, the default', '0b80f7e8042ffa0457be.js'],
    ['webpack, eight digits', 'main.8e1c2f3d.chunk.js'],
    ['webpack, with a hyphen', 'framework-2c79e2a64abdb08b.js'],
    ['esbuild', 'chunk-4D4OME7M.js'],
    ['esbuild, an image', 'logo-KZ4XJ5QA.svg'],
    ['Parcel', 'index.3768c7e9.css'],
    ['Angular', 'main.5a1c4f0b9e7d2c36.js'],
    ['Angular, with a year by chance', 'main.5a1c2024be7d2c36.js'],
    ['webpack, a number by chance', '0080700804200004e570.js'],
  ])('are recognised: %s', (_tool, name) => {
    expect(isHashedName(name)).toBe(true);
  });

  it.each([
    'app.js',
    'index.html',
    'jquery-3.7.1.min.js',
    'app-settings.js', // eight letters
    'user-UserInfo.js',
    'photo-iPhone15.jpg',
    'banner-1280x720.png',
    'IMG-20241231.jpg',
    'scan-DSC_0012.jpg',
    'report-20240101.pdf',
    'guice-no-aop-4.2.3.jar',
    'plane1-utf-16be.html',
    'notes-Guide-V3.md',
    'deadbeef1.txt', // a word of base 16, alone
    'main.deadbeef.js', // no digit
    'main.12345678.js', // no letter
    'index-BkL3d9_x.html', // a page
    'guide-iOS18_en.html',
    'news-15dec2024.pdf', // a date, all of it in base 16
    'minutes-2024feb01.pdf',
    'report-2024Q3v2.pdf',
    'data-1e100000.json', // a number
    '550e8400-e29b-41d4-a716-44665544aa00.png', // the id of a user
    'avatar-550e8400-e29b-41d4-a716-44665544aa00.small.png',
    '507f1f77bcf86cd799439011.jpg',
    'main.8e1c2f3d', // no extension after the hash
    '.8e1c2f3d',
    '',
  ])('do not include %s', (name) => {
    expect(isHashedName(name)).toBe(false);
  });
});
