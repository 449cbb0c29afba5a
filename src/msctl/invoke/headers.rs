//! Headers as a person writes them: `authorization: Bearer ${TOKEN}`.

use reflect::Metadata;

use crate::report::Failure;

/// Adds headers written as `name: value`; `${NAME}` in a value is taken from the environment.
///
/// # Errors
/// A header without a colon, one that HTTP/2 cannot carry, a variable that is not set.
pub fn add_headers(metadata: &mut Metadata, headers: &[String]) -> Result<(), Failure> {
    for header in headers {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            Failure::usage(format!("header '{header}' has no colon"))
                .next("Write it like 'authorization: Bearer ${TOKEN}'.")
        })?;
        let value = expand(value.trim())?;
        metadata
            .insert(name, &value)
            .map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(())
}

/// Puts environment variables in place of `${NAME}`, so that secrets need not be in the process
/// list.
fn expand(value: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        let variable = std::env::var(name).map_err(|_| {
            Failure::usage(format!(
                "environment variable {name} is not set, and a header names it"
            ))
        })?;
        text.push_str(before);
        text.push_str(&variable);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}
