//! The head of the script that built a module: lines `#WHATIS:…`, `#ENV:KEY=VALUE` and, right after one of those, `#ENVNOTE:…`.

use super::variables::{Module, assignment};

/// Adds what the script says.
pub(super) fn merge(module: &mut Module, text: &str) {
    let mut last: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(whatis) = line.strip_prefix("#WHATIS:") {
            module.whatis = Some(whatis.trim().into());
        }
        match (line.strip_prefix("#ENVNOTE:"), last) {
            (Some(note), Some(name)) => module.remark(name, note.trim()),
            _ => last = None,
        }
        // As in the original, whatever follows another '#' is a comment.
        let declared =
            line.strip_prefix("#ENV:").and_then(|rest| assignment(rest.split('#').next().unwrap_or_default()));
        if let Some((name, value)) = declared {
            module.set(name, value);
            last = Some(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Variable;

    #[test]
    fn a_script_of_the_original() {
        let text = "#!/usr/bin/bash\n#WHATIS: an aligner \n#ENV:STAR_INDEX=$app_root/index # where\n#ENVNOTE:STAR index\n\
            #ENV: PLAIN = a b \n\n#ENVNOTE:too late\n#ENV:NOVALUE\ninstall() { :; }\n";
        let mut module = Module::default();
        merge(&mut module, text);
        let variable = |name: &str, value: &str, note: Option<&str>| Variable {
            name: name.into(),
            value: value.into(),
            note: note.map(Into::into),
        };
        let expected = [variable("STAR_INDEX", "$app_root/index", Some("STAR index")), variable("PLAIN", "a b", None)];
        assert_eq!(module.variables, expected);
        assert_eq!(module.whatis.as_deref(), Some("an aligner"));
    }
}
