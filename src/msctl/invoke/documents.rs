//! JSON documents one after the other, with or without line ends between them, cut out of bytes as
//! they arrive. Only where a document ends is looked at; whether it is right is the codec's affair.

/// The most bytes one document may have before it is refused.
pub const MAX_DOCUMENT: usize = 256 << 20;

/// Cuts documents out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Documents {
    pending: Vec<u8>,
    depth: usize,
    inside: Inside,
    scanned: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Between documents.
    #[default]
    Nothing,
    /// In an object or array.
    Nest,
    /// In a string, at whatever depth.
    Text,
    /// Behind a backslash in a string.
    Escape,
    /// In a number or word that stands alone.
    Word,
}

/// A document of more than [`MAX_DOCUMENT`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request document is larger than {} MiB; send it in parts", MAX_DOCUMENT >> 20)]
pub struct TooLarge;

impl Documents {
    /// Takes bytes in and gives the documents that are complete now.
    ///
    /// # Errors
    /// [`TooLarge`] when a document has no end within the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        self.pending.extend_from_slice(bytes);
        let mut complete = Vec::new();
        let mut start = 0;
        while let Some(byte) = self.pending.get(self.scanned).copied() {
            let end = match self.step(byte) {
                Step::Skip => {
                    self.scanned += 1;
                    start = self.scanned;
                    continue;
                }
                Step::Within => {
                    self.scanned += 1;
                    continue;
                }
                Step::EndsWith => self.scanned + 1,
                Step::EndsBefore => self.scanned,
            };
            complete.push(self.pending[start..end].to_vec());
            start = end;
            self.scanned = end;
            self.inside = Inside::Nothing;
        }
        self.pending.drain(..start);
        self.scanned -= start;
        if self.pending.len() > MAX_DOCUMENT {
            return Err(TooLarge);
        }
        Ok(complete)
    }

    /// What is left when no more bytes come: a last word, or a document cut short for the codec to
    /// refuse.
    #[must_use]
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.pending.is_empty()).then_some(self.pending)
    }

    fn step(&mut self, byte: u8) -> Step {
        match self.inside {
            Inside::Nothing => match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x1e => Step::Skip,
                b'{' | b'[' => {
                    self.depth = 1;
                    self.inside = Inside::Nest;
                    Step::Within
                }
                b'"' => {
                    self.inside = Inside::Text;
                    Step::Within
                }
                _ => {
                    self.inside = Inside::Word;
                    Step::Within
                }
            },
            Inside::Nest => match byte {
                b'{' | b'[' => {
                    self.depth += 1;
                    Step::Within
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        Step::EndsWith
                    } else {
                        Step::Within
                    }
                }
                b'"' => {
                    self.inside = Inside::Text;
                    Step::Within
                }
                _ => Step::Within,
            },
            Inside::Text => match byte {
                b'\\' => {
                    self.inside = Inside::Escape;
                    Step::Within
                }
                b'"' if self.depth == 0 => Step::EndsWith,
                b'"' => {
                    self.inside = Inside::Nest;
                    Step::Within
                }
                _ => Step::Within,
            },
            Inside::Escape => {
                self.inside = Inside::Text;
                Step::Within
            }
            Inside::Word => match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b'{' | b'[' | b'"' => Step::EndsBefore,
                _ => Step::Within,
            },
        }
    }
}

enum Step {
    Skip,
    Within,
    EndsWith,
    EndsBefore,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut documents = Documents::default();
        let mut found = Vec::new();
        for chunk in chunks {
            found.extend(documents.push(chunk).unwrap());
        }
        found.extend(documents.finish());
        found
            .into_iter()
            .map(|d| String::from_utf8(d).unwrap())
            .collect()
    }

    #[test]
    fn documents_are_cut_where_they_end() {
        for (text, expected) in [
            ("", vec![]),
            (" \n ", vec![]),
            ("{}", vec!["{}"]),
            ("{}{}", vec!["{}", "{}"]),
            (
                "{\"a\":\"}\\\"\"}\n[1,[2]]",
                vec!["{\"a\":\"}\\\"\"}", "[1,[2]]"],
            ),
            ("1 2\n\"x y\" null", vec!["1", "2", "\"x y\"", "null"]),
            ("{\"a\":", vec!["{\"a\":"]),
            ("{}}", vec!["{}", "}"]),
            ("nope", vec!["nope"]),
        ] {
            assert_eq!(cut(&[text.as_bytes()]), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(
            documents in prop::collection::vec("\\{\"k\":\"[a-z{}\\[\\], ]{0,8}\"\\}|[0-9]{1,3}|\\[\\[\\]\\]", 0..5),
            step in 1usize..7,
        ) {
            let text = documents.join("\n");
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(step).collect();
            prop_assert_eq!(cut(&chunks), documents);
        }
    }
}
